"""Let a run of W&B continue after an interruption, with each row once, although W&B accepts no earlier step.

W&B may lack the last rows before a kill, and has rows of steps that the resumed run repeats. The rows that it has are read
from its own file if it is offline, else from the last step on its server.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from peclip.errors import InputError
from peclip.files import read_regular

STEP = "trainer/global_step"
"""Name of the step in the rows of WandbLogger."""

BESIDE = ("pictures/", "tables/", "speed/", "calibration/")
"""Prefixes of the names of values that loggers like W&B show and metrics.csv lacks."""

HEADER, BLOCK = 7, 32768
"""Bytes before the first block of W&B's file, and of a block; the file is a log of LevelDB."""


@dataclass(frozen=True)
class Row:
    """Metrics that were logged together.

    Attributes:
        step: step at which they were logged.
        names: names of the metrics, sorted.
    """

    step: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Earlier:
    """Rows that a run had logged before it was interrupted.

    Attributes:
        kept: rows of metrics.csv up to the checkpoint.
        ahead: rows after it that are repeated with the same values.
    """

    kept: Sequence[Mapping[str, str]] = ()
    ahead: frozenset[Row] = frozenset()


class ContinuedWandbLogger(WandbLogger):
    """WandbLogger that adds rows that W&B lost in an interruption, and skips repeated rows that it has.

    Args:
        earlier: rows that were logged before; None for a new run.
        options: keyword arguments of WandbLogger.
    """

    def __init__(self, *args: Any, earlier: Earlier | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._earlier = earlier
        self._skipped: frozenset[Row] = frozenset()
        self._reached = -1  # step up to which pictures and the like are not shown again

    @property
    def experiment(self) -> Any:
        """The run of W&B, which begins when it is first asked for.

        Raises:
            InputError: W&B refuses to begin it, as for settings that it does not know.
        """
        try:
            return super().experiment
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("wandb", "pydantic_core"):
                raise
            reason = " ".join(str(error).partition("For further information")[0].split())
            raise InputError(f"W&B cannot begin a run: {reason}", "trainer.logger") from error

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics, unless they were logged before the interruption."""
        if self._earlier:
            earlier, self._earlier = self._earlier, None
            self._catch_up(earlier)
        if step is None or not self._is_skipped(row_of(step, metrics)):
            super().log_metrics(metrics, step)

    def _is_skipped(self, row: Row) -> bool:
        return row in self._skipped or (
            row.step <= self._reached and all(name.startswith(BESIDE) for name in row.names)
        )

    def _catch_up(self, earlier: Earlier) -> None:
        """Log the rows that W&B lacks, and find those to skip."""
        kept = [(row_of(int(row["step"]), row), row) for row in earlier.kept]
        known = {*earlier.ahead, *(row for row, _ in kept)}
        run = self.experiment
        if run.offline:
            held = {row for path in Path(run.dir).parents[1].glob(f"*-{run.id}/*.wandb") for row in self._rows_in(path)}
            last = max((row.step for row in held), default=-1)
        else:
            last = run.summary.get(STEP, -1)
            held = {row for row in known if row.step <= last}
        self._skipped = earlier.ahead & held
        self._reached = last if earlier.ahead else -1
        for row, values in kept:
            if row not in held:
                super().log_metrics({name: float(values[name]) for name in row.names}, row.step)

    def _rows_in(self, path: Path) -> Iterator[Row]:
        """Yield the rows of metrics that a file of W&B has."""
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made when it is imported

        prefix = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        for content in _records(read_regular(path)):
            record = Record()
            record.ParseFromString(content)
            values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            if STEP in values:
                names = {
                    name.removeprefix(prefix): None for name in values if name != STEP and not name.startswith("_")
                }
                yield row_of(json.loads(values[STEP]), names)


def row_of(step: int, metrics: Mapping[str, Any]) -> Row:
    """Return the identity of a row."""
    return Row(step, tuple(sorted(name for name in metrics if name != "step")))


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the complete records of a log of LevelDB, which are split where a block ends."""
    place, record = HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK  # padding
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        part = content[place + HEADER : place + HEADER + size]
        if len(part) < size:  # the writer was interrupted
            return
        record, place = (part if kind in (1, 2) else record + part), place + HEADER + size
        if kind in (1, 4):  # a whole record, or its last part
            yield record
