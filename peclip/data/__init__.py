"""The data: clips on disk to batches on the device."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.data.augment import Augment, Mix
    from peclip.data.batch import Batch
    from peclip.data.benchmarks import READERS, read_benchmark
    from peclip.data.datamodule import VideoDataModule
    from peclip.data.dataset import ClipDataset
    from peclip.data.manifest import Clip, Manifest, Split
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Augment": "peclip.data.augment",
            "Batch": "peclip.data.batch",
            "Clip": "peclip.data.manifest",
            "ClipDataset": "peclip.data.dataset",
            "Manifest": "peclip.data.manifest",
            "Mix": "peclip.data.augment",
            "READERS": "peclip.data.benchmarks",
            "Split": "peclip.data.manifest",
            "VideoDataModule": "peclip.data.datamodule",
            "read_benchmark": "peclip.data.benchmarks",
        },
    )

__all__ = (
    "READERS",
    "Augment",
    "Batch",
    "Clip",
    "ClipDataset",
    "Manifest",
    "Mix",
    "Split",
    "VideoDataModule",
    "read_benchmark",
)
