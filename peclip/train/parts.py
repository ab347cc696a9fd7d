"""The folder of a prediction in parts: Parquet files of so many clips each, which are there as a whole or not at all.

A part is what the clips make it, whoever predicts it: part p has those from p * n to (p + 1) * n, in their order. So a restart
with any number of ranks does the parts that are not there, and all parts together have every clip once.
"""

import hashlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jsonargparse import Namespace
from torch import Tensor

from peclip.data.manifest import Manifest
from peclip.data.manifest.reader import PIECE
from peclip.errors import InputError, in_one_line
from peclip.files import write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

STATE = "parts.json"

FORMAT = 1
"""Version of the files; another one is refused."""

WORDS = {
    "format": "another version of peclip",
    "clips": "another number of clips",
    "manifest": "other clips",
    "clips_per_part": "another --clips_per_part",
    "labels": "other labels, or in another order",
    "num_frames": "another data.num_frames",
    "normalize": "another data.normalize",
    "precision": "another trainer.precision",
    "model": "another checkpoint or model",
}
"""Entries of parts.json that tell what the prediction is made of, and how a difference is told."""

COMPLETE, ROWS = "complete", "rows"
"""Entries of parts.json that tell how far it is."""

Batch = tuple[Tensor, Tensor]
"""Indices (B,) of clips, and their probabilities (B, C), float32."""


def check_prediction(options: Namespace, first: bool) -> None:
    """Check that a prediction can begin or go on with these options.

    Args:
        options: of the command.
        first: whether this rank looks at the folder; the others start when it has begun there.

    Raises:
        InputError: an option is out of range, or the folder is a file or holds something else.
    """
    folder, trainer = Path(options.parts), options.trainer
    if options.clips_per_part < 1:
        raise InputError(f"clips_per_part is {options.clips_per_part}, expected at least 1")
    if trainer.limit_predict_batches is not None or trainer.fast_dev_run:
        raise InputError(
            "with --parts all clips are predicted: leave out trainer.limit_predict_batches and fast_dev_run"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"parts {folder} is a file: name a folder")
    if first and folder.is_dir() and not (folder / STATE).exists() and any(folder.iterdir()):
        raise InputError(f"parts {folder} holds something else than a prediction in parts: name a new folder")


class PartFolder:
    """What is in the folder, and what belongs there.

    Args:
        path: of the folder.
        made_of: what the prediction is made of, by the names in :data:`WORDS`.

    Raises:
        InputError: another prediction is there, or ``parts.json`` is torn.
    """

    def __init__(self, path: Path, made_of: dict[str, Any]) -> None:
        self.path = path
        self.made_of = {"format": FORMAT, **made_of}
        self.clips, self.size = int(made_of["clips"]), int(made_of["clips_per_part"])
        self.parts = range(-(-self.clips // self.size))
        before = self._state()
        for name, value in self.made_of.items() if before else ():
            if before.get(name) != value:
                raise InputError(
                    f"{path} was begun with {WORDS[name]}: give the same as then, or name another folder with --parts"
                )
        self.begun = bool(before)
        self.rows: int | None = before[ROWS] if before.get(COMPLETE) else None
        """Rows of all parts, once all are there."""

    def clips_of(self, part: int) -> range:
        """Return the clips of a part."""
        return range(part * self.size, min((part + 1) * self.size, self.clips))

    def has(self, part: int) -> bool:
        """Return whether a part is there."""
        return self._file(part).exists()

    def begin(self) -> list[int]:
        """Begin, or go on, and return the parts that are left to do; torn ones and those of others are put aside."""
        if not self.begun:
            self._write_state({COMPLETE: False})
        for torn in self.path.glob(".*.parquet"):  # killed while it was written
            torn.unlink()
        return [part for part in self.parts if not self._is_whole(part)]

    def write(self, part: int, table: "pa.Table") -> None:
        """Write a part.

        Raises:
            InputError: it cannot be written, for want of space for example.
        """
        from pyarrow import parquet

        content = io.BytesIO()
        table = table.replace_schema_metadata(self._mark(part))
        parquet.write_table(table, content, compression="zstd", write_page_checksum=True)
        _keep(self._file(part), content.getbuffer())

    def end(self) -> None:
        """Say in ``parts.json`` that all parts are there."""
        from pyarrow.parquet import read_metadata

        self.rows = sum(read_metadata(self._file(part)).num_rows for part in self.parts)
        self._write_state({COMPLETE: True, ROWS: self.rows})

    def __str__(self) -> str:
        skipped = f" ({self.clips - self.rows} were skipped)" if self.rows not in (None, self.clips) else ""
        parts = "1 part" if len(self.parts) == 1 else f"{len(self.parts)} parts"
        return f"{self.clips if self.rows is None else self.rows} clips in {parts}{skipped}: {self.path}"

    def _file(self, part: int) -> Path:
        return self.path / f"part-{part:05d}.parquet"

    def _mark(self, part: int) -> dict[bytes, bytes]:
        """Return what a part tells of itself, so that none of another prediction is taken for it."""
        made_of = hashlib.sha256(json.dumps(self.made_of).encode()).hexdigest()
        return {b"peclip.prediction": made_of.encode(), b"peclip.part": str(part).encode()}

    def _is_whole(self, part: int) -> bool:
        """Return whether a part is there; one that is torn, or another's, is put aside in one line."""
        import pyarrow as pa
        from pyarrow import parquet

        file = self._file(part)
        if not file.exists():
            return False
        try:
            with parquet.ParquetFile(file, page_checksum_verification=True) as content:
                table = content.read()
            wrong = None if (table.schema.metadata or {}) == self._mark(part) else "not of this prediction"
        except (OSError, pa.ArrowException) as error:
            wrong = f"torn ({in_one_line(error)})"
        if wrong:
            aside = file.with_suffix(".aside")
            file.replace(aside)
            print(
                f"peclip: warning: {file}: {wrong}: it is {aside.name} now, its clips are predicted anew",
                file=sys.stderr,
            )
        return not wrong

    def _state(self) -> dict[str, Any]:
        """Return what ``parts.json`` says, nothing where there is none."""
        file = self.path / STATE
        if not file.exists():
            return {}
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            state = None
        if not isinstance(state, dict) or COMPLETE not in state or (state[COMPLETE] and ROWS not in state):
            raise InputError(
                f"{file} is torn, or not peclip's: remove {self.path}, or name another folder with --parts"
            )
        return state

    def _write_state(self, progress: dict[str, Any]) -> None:
        _keep(self.path / STATE, (json.dumps(self.made_of | progress, indent=2) + "\n").encode())


def as_table(clips: Manifest, labels: Sequence[str], batches: Sequence[Batch]) -> "pa.Table":
    """Return predictions as a table: path, start and end where the clips have them, predicted, and a column per label.

    Args:
        clips: what was predicted.
        labels: class names in the order of the probabilities.
        batches: of one part; there may be none.
    """
    import pyarrow as pa

    rows = torch.cat([torch.empty(0, dtype=torch.int64), *(index for index, _ in batches)])
    scores = torch.cat([torch.empty(0, len(labels)), *(value for _, value in batches)])
    table = clips.table.iloc[rows.numpy()]
    columns = {"path": pa.array(table["path"], pa.string())}
    for name in ("start", "end"):
        if clips.table[name].notna().any():
            columns[name] = pa.array(table[name], pa.float64(), from_pandas=True)
    columns["predicted"] = pa.array([labels[index] for index in scores.argmax(dim=1).tolist()], pa.string())
    columns |= {label: pa.array(scores[:, index].numpy()) for index, label in enumerate(labels)}
    return pa.table(columns)


def clips_sum(clips: Manifest) -> str:
    """Return a sum over what is read of clips, piece by piece: their text is never in memory as a whole.

    Raises:
        InputError: the name of a clip is no text.
    """
    total = hashlib.sha256()
    try:
        for first in range(0, len(clips), PIECE):
            piece = clips.table[["path", "start", "end"]].iloc[first : first + PIECE]
            total.update(piece.to_csv(index=False, header=False).encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{clips.source}: the name of a clip is not UTF-8, which parts need: rename it") from error
    return total.hexdigest()


def _keep(file: Path, content: bytes | memoryview) -> None:
    """Write a file as a whole.

    Raises:
        InputError: it cannot be written, for want of space for example.
    """
    advice = "; the finished parts are as they were. Make room, then give the same command again"
    write_bytes(file, content, advice)
