"""Features of the clips of a manifest, batch by batch, in files and as a picture."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from peclip.data.batch import NO_INDEX
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from peclip.files import atomic_write
from peclip.model import PEClip

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "npz"]

MOST = 5_000
"""Most clips of a picture; of more, some that are evenly spread over the manifest."""

GROUP = 1_024
"""Clips of a row group of Parquet."""

COLUMNS = ("path", "label", "split", "subject", "start", "end")
"""Columns of a manifest that are written with the features if they have values."""


class Features(NamedTuple):
    """Features of some clips.

    Attributes:
        rows: places of the clips in the manifest, int64 (N,).
        values: L2-normalised, float32 (N, D).
    """

    rows: np.ndarray
    values: np.ndarray


def data_of(
    net: PEClip, manifest: str, batch_size: int, num_workers: int, on_error: Literal["raise", "skip"]
) -> VideoDataModule:
    """Return the clips of a manifest as ``peclip predict`` reads them: those of all splits, with any labels.

    Raises:
        InputError: the manifest cannot be read or is empty, or an option is out of range.
    """
    data = VideoDataModule(
        manifest, batch_size=batch_size, num_workers=num_workers, predict="all", allow_outside=True, on_error=on_error
    )
    data.use_labels(data.all_clips.labels or net.labels)
    data.clip_format = net.clip_format
    data.setup("predict")
    if num_workers:
        data.check_memory("predict", 1)
    return data


def features_of(net: PEClip, data: VideoDataModule) -> Iterator[Features]:
    """Yield the features of clips, batch by batch in the order of the manifest; clips that are skipped have none.

    Raises:
        InputError: a clip cannot be read, a feature is not finite, or a process that reads clips has died.
    """
    device = net.token_ids.device
    try:
        for batch in data.predict_dataloader():
            ready = data.on_after_batch_transfer(batch.to(device), 0)
            with torch.inference_mode():
                values = net.encode_video(ready.video).float().cpu()
            rows, known = ready.clip.cpu(), ready.clip.cpu() != NO_INDEX
            bad = known & ~values.isfinite().all(dim=1)
            if bad.any():
                clip = data.predicted.clip(int(rows[bad][0]))
                raise InputError(
                    f"{clip.path} ({clip.where}): its features are not finite; the model's weights may be damaged"
                )
            yield Features(rows[known].numpy(), values[known].numpy())
    except RuntimeError as error:
        if (died := data.worker_error(error)) is not None:
            raise died from error
        raise


def columns_of(clips: Manifest) -> list[str]:
    """Return the columns of a manifest that have values, the path first."""
    table = clips.table
    return [name for name in COLUMNS if name == "path" or (table[name].notna() & table[name].ne("")).any()]


def write_features(
    path: Path, clips: Manifest, found: Iterator[Features], form: Format, advance: Callable[[int], object]
) -> Features:
    """Write features as they come, and return those that a picture shows.

    Args:
        path: the file.
        clips: the manifest.
        found: the features.
        form: ``parquet`` has a row per clip with the columns of the manifest and ``feature``, a list of D numbers; ``npz`` an
            array for each.
        advance: called with the number of clips that were written.

    Raises:
        InputError: the file cannot be written, no clip could be read, or as :func:`features_of`.
    """
    step = max(1, -(-len(clips) // MOST))
    shown: list[Features] = []
    write = _write_parquet if form == "parquet" else _write_npz

    def watched() -> Iterator[Features]:
        for some in found:
            kept = some.rows % step == 0
            shown.append(Features(some.rows[kept], some.values[kept]))
            yield some
            advance(len(some.rows))

    with atomic_write(path) as temporary:
        if not write(temporary, clips, watched()):
            raise InputError(f"{clips.source}: no clip could be read")
    return _joined(shown)


def _write_parquet(path: Path, clips: Manifest, found: Iterator[Features]) -> int:
    """Write a row group for every :data:`GROUP` clips, and return the number of clips."""
    import pyarrow.parquet as pq

    count = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for some in _grouped(found):
            table = _table(clips, some)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)
            count += len(some.rows)
    return count


def _grouped(found: Iterator[Features]) -> Iterator[Features]:
    """Yield features of at least :data:`GROUP` clips at a time, and at the end the others."""
    kept: list[Features] = []
    for some in chain(found, [None]):
        if some is not None:
            kept.append(some)
        count = sum(len(each.rows) for each in kept)
        if count >= GROUP or (some is None and count):
            yield _joined(kept)
            kept = []


def _joined(some: Sequence[Features]) -> Features:
    return Features(np.concatenate([each.rows for each in some]), np.concatenate([each.values for each in some]))


def _table(clips: Manifest, some: Features) -> "pa.Table":
    import pyarrow as pa

    rows, names = clips.table.iloc[some.rows], columns_of(clips)
    columns = {
        name: pa.array(rows[name], pa.float64() if name in ("start", "end") else pa.string(), from_pandas=True)
        for name in names
    }
    flat = pa.array(some.values.ravel(), pa.float32())
    columns["feature"] = pa.FixedSizeListArray.from_arrays(flat, some.values.shape[1])
    return pa.table(columns)


def _write_npz(path: Path, clips: Manifest, found: Iterator[Features]) -> int:
    """Collect the features in a temporary file, because an array states its length first; return their number."""
    rows: list[np.ndarray] = []
    with TemporaryFile(dir=path.parent) as raw:
        width = 0
        for some in found:
            rows.append(some.rows)
            raw.write(np.ascontiguousarray(some.values, "<f4").tobytes())
            width = some.values.shape[1]
        known = np.concatenate([np.zeros(0, np.int64), *rows])
        table = clips.table.iloc[known]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            _put_raw(archive, raw, (len(known), width))
            for name in columns_of(clips):
                values = table[name].to_numpy(float if name in ("start", "end") else np.str_)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
    return len(known)


def _put_raw(archive: zipfile.ZipFile, raw: IO[bytes], shape: tuple[int, int]) -> None:
    """Copy float32 numbers into an archive as the array ``feature``."""
    raw.seek(0)
    with archive.open("feature.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        while piece := raw.read(2**20):
            file.write(piece)
