"""Write a prediction in shards: Parquet files of a fixed number of clips, each complete or absent.

Shard s holds the clips s * n to (s + 1) * n, in their order, on any rank. So a restart with any number of ranks
predicts the missing shards, and all shards together have every clip once.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from peclip.data.contents import OTHER_CLIPS, OTHER_VERSION, contents_digest
from peclip.data.manifest import Manifest
from peclip.errors import InputError, counted, in_one_line
from peclip.files import check_regular, write_bytes, write_json
from peclip.results.records import from_json, read_json
from peclip.terminal import say
from peclip.train.runs.folder import check_new_folder

if TYPE_CHECKING:
    import pyarrow as pa

STATE = "shards.json"

FORMAT = 3
"""Version of the files; others are refused."""

WORDS = {
    "format": OTHER_VERSION,
    "clips": "another number of clips",
    "manifest": OTHER_CLIPS,
    "clips_per_shard": "another --clips_per_shard",
    "labels": "other labels, or in another order",
    "num_frames": "another data.num_frames",
    "views": "other data.views",
    "precision": "another trainer.precision",
    "model": "another checkpoint or model",
    "calibrate": "another model.calibrate",
}
"""Descriptions of a difference in an entry of shards.json, in the order of the comparison."""

COMPLETE, ROWS = "complete", "rows"
"""Entries of shards.json about the progress of the prediction."""

ADVICE = "; the finished shards are as they were. Free some space, then run the same command again"


@dataclass(frozen=True)
class Prediction:
    """Inputs of a prediction; a folder of shards belongs to one of them.

    Attributes:
        clips: number of clips.
        manifest: digest of the paths, times and sizes of the clips.
        clips_per_shard: number n of clips of a shard.
        labels: class names in the order of the probabilities.
        num_frames: number T of frames of a clip.
        views: views of each clip; None in files of earlier versions, which had one.
        precision: precision of the trainer, such as ``bf16-mixed``.
        model: digest of everything that the logits depend on.
        format: version of the files.
        calibrate: false if the temperature of the model is ignored; else None, as in files of earlier versions.
    """

    clips: int
    manifest: str
    clips_per_shard: int
    labels: list[str]
    num_frames: int
    precision: str
    model: str
    format: int = FORMAT
    views: str | None = None
    calibrate: bool | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a prediction, as shards.json has it.

    Attributes:
        complete: whether all shards were written.
        rows: number of rows of all shards; None until all of them are written.
    """

    complete: bool
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.complete and self.rows is None:
            raise InputError("complete is true, but it lacks rows")


def check_shards_option(options: Namespace, first: bool) -> None:
    """Check that a prediction in shards can begin or resume with these options.

    Args:
        options: options of the command.
        first: whether this rank checks the folder; the other ranks start after it has written there.

    Raises:
        InputError: an option is out of range, or the folder is a file or holds something else.
    """
    folder, trainer = Path(options.shards), options.trainer
    if options.clips_per_shard < 1:
        raise InputError(f"clips_per_shard is {options.clips_per_shard}, expected at least 1")
    if trainer.limit_predict_batches is not None or trainer.fast_dev_run:
        raise InputError("--shards predicts all clips: omit trainer.limit_predict_batches and fast_dev_run")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"shards {folder} is a file: name a folder")
    if first and folder.is_dir() and not (folder / STATE).exists() and any(folder.iterdir()):
        raise InputError(f"shards {folder} holds other files than predictions in shards: name a new folder")
    if first and options.out and not (folder / STATE).exists():
        check_new_folder(Path(options.out), "out")


class ShardFolder:
    """The shards of a prediction, those that exist and those that are missing.

    Args:
        path: path of the folder.
        prediction: inputs of the prediction.

    Raises:
        InputError: the folder belongs to another prediction, or ``shards.json`` is damaged.
    """

    def __init__(self, path: Path, prediction: Prediction) -> None:
        self.path = path
        self.prediction = prediction
        self.shards = range(-(-prediction.clips // prediction.clips_per_shard))
        before, progress = self._state()
        for name in WORDS if before else ():
            if before.get(name) != getattr(prediction, name):
                raise InputError(
                    f"{path} was begun with {WORDS[name]}: use the same, or name another folder with --shards"
                )
        self.begun = bool(before)
        self.rows: int | None = progress.rows if progress.complete and self._holds(progress.rows) else None
        """Number of rows of all shards; None until all are complete."""

    def clips_of(self, shard: int) -> range:
        """Return the clips of a shard."""
        size = self.prediction.clips_per_shard
        return range(shard * size, min((shard + 1) * size, self.prediction.clips))

    def has(self, shard: int) -> bool:
        """Return whether a shard exists."""
        return self._file(shard).exists()

    def begin(self) -> list[int]:
        """Begin or resume, and return the missing shards; set damaged ones and those of another prediction aside."""
        if not self.begun:
            self._write_state({COMPLETE: False})
        for incomplete in self.path.glob(".*.parquet"):  # a prediction was killed while it wrote
            incomplete.unlink()
        return [shard for shard in self.shards if not self._is_whole(shard)]

    def _holds(self, rows: int | None) -> bool:
        """Return whether all shards are complete and have so many rows in total; other ranks may look at the same time."""
        from pyarrow.parquet import read_metadata

        if not all(self.has(shard) and not self._fault(shard) for shard in self.shards):
            return False
        return sum(read_metadata(self._file(shard)).num_rows for shard in self.shards) == rows

    def write(self, shard: int, table: "pa.Table") -> None:
        """Write a shard.

        Raises:
            InputError: the shard cannot be written, for example for lack of space.
        """
        from pyarrow import parquet

        content = io.BytesIO()
        table = table.replace_schema_metadata(self._mark(shard))
        parquet.write_table(table, content, compression="zstd", write_page_checksum=True)
        with content.getbuffer() as data:  # see checkpoint_io
            write_bytes(self._file(shard), data, ADVICE)

    def end(self) -> None:
        """Record in ``shards.json`` that all shards exist."""
        from pyarrow.parquet import read_metadata

        self.rows = sum(read_metadata(self._file(shard)).num_rows for shard in self.shards)
        self._write_state({COMPLETE: True, ROWS: self.rows})

    def __str__(self) -> str:
        clips = self.prediction.clips
        skipped = f" ({clips - self.rows} were skipped)" if self.rows not in (None, clips) else ""
        written = counted(clips if self.rows is None else self.rows, "clip")
        return f"{written} in {counted(len(self.shards), 'shard')}{skipped}: {self.path}"

    def _file(self, shard: int) -> Path:
        return self.path / f"shard-{shard:05d}.parquet"

    def _mark(self, shard: int) -> dict[bytes, bytes]:
        """Return the metadata of a shard, which identifies its prediction."""
        made_of = hashlib.sha256(json.dumps(asdict(self.prediction)).encode()).hexdigest()
        return {b"peclip.prediction": made_of.encode(), b"peclip.shard": str(shard).encode()}

    def _is_whole(self, shard: int) -> bool:
        """Return whether a shard is complete; set it aside with a warning if it is damaged or of another prediction."""
        file = self._file(shard)
        if not self.has(shard):
            return False
        wrong = self._fault(shard)
        if wrong:
            aside = file.with_suffix(".aside")
            file.replace(aside)
            say(f"peclip: warning: {file}: {wrong}: it is {aside.name} now, its clips are predicted again", error=True)
        return not wrong

    def _fault(self, shard: int) -> str:
        """Return what is wrong with a shard that exists; empty if it is complete and of this prediction."""
        import pyarrow as pa
        from pyarrow import parquet

        file = self._file(shard)
        try:
            check_regular(file)
            with parquet.ParquetFile(file, page_checksum_verification=True) as content:
                table = content.read()
        except (InputError, OSError, pa.ArrowException) as error:
            return f"damaged ({in_one_line(error)})"
        return "" if (table.schema.metadata or {}) == self._mark(shard) else "not of this prediction"

    def _state(self) -> tuple[dict[str, Any], Progress]:
        """Return the content of ``shards.json``, and the progress that it records; both are empty if there is no such file."""
        file = self.path / STATE
        try:
            state = read_json(file)
            progress = Progress(False) if state is None else from_json(Progress, state, str(file))
        except InputError as error:
            raise InputError(f"{error}: remove {self.path}, or name another folder with --shards") from error
        return state or {}, progress

    def _write_state(self, progress: dict[str, Any]) -> None:
        write_json(self.path / STATE, asdict(self.prediction) | progress)


def shardable_digest(clips: Manifest) -> str:
    """Return a digest of clips, see :func:`peclip.data.contents.contents_digest`.

    Raises:
        InputError: the name of a clip is not UTF-8.
    """
    try:
        for path in clips.table["path"]:
            path.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{clips.source}: the name of a clip is not UTF-8, which shards need: rename it") from error
    return contents_digest(clips)
