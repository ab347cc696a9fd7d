"""What the tests of packed clips share: reading them as training does, and comparing clips."""

from peclip.data.datamodule import VideoDataModule

SIZE = 48
CLOSE = 10  # grey levels by which JPEG may change a pixel; numbered frames differ by more


def module(manifest, **options):
    options = {"num_frames": 5, "image_size": SIZE, "batch_size": 3, "num_workers": 0, "val": 0, **options}
    return VideoDataModule(manifest=str(manifest), **options)


def batches_of(manifest, **options):
    data = module(manifest, **options)
    return [*data.train_dataloader(), *data.test_dataloader()]


def assert_same_clips(batches, expected):
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        assert batch["clip"].tolist() == other["clip"].tolist()
        assert batch["label"].tolist() == other["label"].tolist()
        assert (batch["video"].int() - other["video"].int()).abs().max() <= CLOSE


def shards_of(folder):
    return sorted(folder.glob("*.zip"))
