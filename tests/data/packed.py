"""Helpers of the tests of packed clips: read them as training does, and compare clips."""

from peclip.clip_format import ClipFormat
from peclip.data.datamodule import VideoDataModule

SIZE = 48
CLOSE = 10  # grey levels by which JPEG may change a pixel; numbered frames differ by more


def module(manifest, size=SIZE, **options):
    data = VideoDataModule(manifest=str(manifest), **{"batch_size": 3, "num_workers": 0, "val": 0, **options})
    data.clip_format = ClipFormat(5, size)
    return data


def batches_of(manifest, **options):
    data = module(manifest, **options)
    return [*data.train_dataloader(), *data.test_dataloader()]


def assert_same_clips(batches, expected):
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        assert batch.clip.tolist() == other.clip.tolist()
        assert batch.label.tolist() == other.label.tolist()
        assert (batch.video.int() - other.video.int()).abs().max() <= CLOSE


def shards_of(folder):
    return sorted(folder.glob("*.zip"))
