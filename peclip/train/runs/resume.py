"""Find the run, the checkpoint and the logged metrics from which ``--ckpt_path last`` resumes."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from peclip.errors import InputError
from peclip.files import read_regular_text
from peclip.model.io.torch_file import read_checkpoint
from peclip.terminal import say
from peclip.train.runs.checkpoints import LAST, PREVIOUS
from peclip.train.runs.folder import VERSION, number_of

METRICS, METRICS_BEFORE = "metrics.csv", ".before.csv"


class Interrupted(NamedTuple):
    """An interrupted run, which resumes in its own folder.

    Attributes:
        folder: of the run.
        checkpoint: to resume from; None if the run was interrupted before the first one.
        steps: optimizer steps up to the checkpoint.
    """

    folder: Path
    checkpoint: Path | None
    steps: int


def interrupted_run(ckpt_path: str, runs: Path, folder: Path | None) -> Interrupted | None:
    """Return the interrupted run.

    Args:
        ckpt_path: ``last``, or the folder of a run.
        runs: where the runs of this name are; ``last`` is the latest of them.
        folder: the folder of the run, where it has one of its own instead.

    Returns:
        None for ``last`` if there is no run yet, so that the first start and all others have the same command.

    Raises:
        InputError: the folder is not a run, or none of its checkpoints can be read.
    """
    if ckpt_path != "last":
        run = Path(ckpt_path)
        if not (run / "checkpoints").is_dir():
            raise InputError(f"{run}: no checkpoint to resume from, expected a .ckpt file or the folder of a run")
    else:
        found = [folder] if folder else sorted(runs.glob(f"{VERSION}_*"), key=number_of)
        of_fit = [run for run in found if run and (run / "checkpoints").is_dir()]
        if not of_fit:
            _say(f"No run in {folder or runs} to resume: starting the first")
            return None
        run = of_fit[-1]
    checkpoint, steps = _newest_good(run / "checkpoints")
    _say(f"Resuming {run} from {f'step {steps}' if checkpoint else 'the start: it has no checkpoint'}")
    return Interrupted(run, checkpoint, steps)


@rank_zero_only
def _say(line: str, error: bool = False) -> None:
    say(line, error=error)


def _newest_good(folder: Path) -> tuple[Path | None, int]:
    """Return the latest complete checkpoint and its steps; set a damaged one aside with a warning.

    Raises:
        InputError: all checkpoints are damaged.
    """
    error = None
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(path)
        except InputError as this:
            if error is None and (folder / PREVIOUS).is_file():
                _say(f"peclip: warning: {this}: trying the one before it", error=True)
            error = this
            continue
        # Otherwise the next checkpoint would replace the good one. Only rank 0 moves it.
        if error and (folder / LAST).exists() and not getattr(rank_zero_only, "rank", 0):
            (folder / LAST).replace(folder / "torn.ckpt")
        return path, int(content.get("global_step", 0))
    if error:
        raise error
    return None, 0


def keep_metrics(run: Interrupted, logger: CSVLogger) -> None:
    """Keep the rows of ``metrics.csv`` of the steps before the checkpoint, which Lightning would delete.

    Meanwhile they are kept in another file, so that a second interruption loses nothing.
    """
    before, metrics = run.folder / METRICS_BEFORE, run.folder / METRICS
    if metrics.exists() and not before.exists():
        metrics.replace(before)
    writer = logger.experiment
    if before.exists():
        writer.metrics = list(_rows(before, run.steps))
        writer.save()
        before.unlink()


def _rows(path: Path, steps: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the first steps; the last line of the file may be torn."""
    text = read_regular_text(path)
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        step = row.get("step") or ""
        if step.isdecimal() and int(step) < steps:
            yield {name: value for name, value in row.items() if value}


def remove_empty_run(folder: Path, runs: Path) -> None:
    """Remove the folder of a run that holds at most its configuration, and empty folders above it."""
    if {path.name for path in folder.rglob("*")} <= {"config.yaml", "checkpoints"}:
        shutil.rmtree(folder, ignore_errors=True)
        for above in folder.parents:
            if above.is_relative_to(runs):
                with suppress(OSError):  # it holds other runs
                    above.rmdir()
