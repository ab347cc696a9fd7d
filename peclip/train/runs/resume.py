"""Find the run, the checkpoint and the logged metrics from which ``--ckpt_path last`` resumes."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError, first_line
from peclip.files import is_temporary, read_regular_text
from peclip.model.torch_file import read_checkpoint
from peclip.results.options import CHANGES, OPTIONS, read_changes
from peclip.train.cluster.ranks import say_once
from peclip.train.private_hooks import process_rank
from peclip.train.runs.checkpoint_io import LAST
from peclip.train.runs.checkpoint_types import check_states
from peclip.train.runs.checkpoints import ENDED, PREVIOUS, START, LastCheckpoint
from peclip.train.runs.folder import VERSION, number_of, remove_folder, run_of_model
from peclip.train.runs.loggers import FILE as LOGS
from peclip.train.runs.start_model import ORIGIN_FILE

METRICS, METRICS_BEFORE, HPARAMS = "metrics.csv", ".before.csv", "hparams.yaml"

MOST_DIGITS = 18
"""Maximum number of digits of a step, a number of 64 bits."""

BEFORE_TRAINING = {OPTIONS, CHANGES, LOGS, ORIGIN_FILE, START, "checkpoints", HPARAMS}
"""Files that are written before a training begins, besides those of TensorBoard."""


class Interrupted(NamedTuple):
    """A run that resumes, and the checkpoint that it resumes from.

    Attributes:
        folder: folder of the run.
        checkpoint: checkpoint to resume from; None if the run was interrupted before the first one.
        steps: number of optimizer steps up to the checkpoint.
        epochs: number of finished epochs.
        state: state of :class:`~peclip.train.runs.checkpoints.LastCheckpoint` in the checkpoint: options, batches and clips.
        in_place: whether it resumes in its own folder; a single ``.ckpt`` is continued in a new one.
        at_start: whether the checkpoint is a single ``.ckpt`` that the run continues, because it has written none yet.
        ended: whether a callback, such as EarlyStopping, had ended the training.
    """

    folder: Path
    checkpoint: Path | None = None
    steps: int = 0
    epochs: int = 0
    state: Mapping[str, Any] = {}
    in_place: bool = True
    at_start: bool = False
    ended: bool = False


def interrupted_run(ckpt_path: str, runs: Path, folder: Path | None) -> Interrupted | None:
    """Return the interrupted run.

    Args:
        ckpt_path: ``last``, or the folder of a run.
        runs: folder of the runs of this name; ``last`` is the latest of them.
        folder: folder of the run, if the command line names one.

    Returns:
        None for ``last`` if there is no run yet, so that the first start and all others have the same command.

    Raises:
        InputError: the folder is not a run, or none of its checkpoints can be read.
    """
    if ckpt_path != "last":
        run = Path(ckpt_path)
        if not _has_checkpoints(run):
            raise InputError(f"{run}: no checkpoint to resume from, expected a .ckpt file or the folder of a run")
    else:
        of_fit = [run for run in [folder] if _is_run(run)] if folder else _trainings(runs)
        if not of_fit:
            say_once(f"No run in {folder or runs} to resume: starting the first")
            return None
        run = of_fit[-1]
    found = _newest_good(run)
    say_once(f"Resuming {run} from {f'step {found.steps}' if found.checkpoint else 'the start: it has no checkpoint'}")
    return found


def latest_model(runs: Path) -> Path:
    """Return the latest training of a name; evaluations call it ``last``.

    Args:
        runs: folder of the runs of this name.

    Raises:
        InputError: there is none, or it has no checkpoint.
    """
    if not (found := _trainings(runs)):
        raise InputError(
            f"ckpt_path is last, but {runs} holds no training: name its run with --name, or a model with --ckpt_path"
        )
    if not any((found[-1] / "checkpoints").glob("[!.]*.ckpt")):
        raise InputError(
            f"ckpt_path is last, but {found[-1]}, the latest training, has no checkpoint: name another run"
        )
    return found[-1]


def _trainings(runs: Path) -> list[Path]:
    """Return the trainings of a name in their order."""
    return [run for run in sorted(runs.glob(f"{VERSION}_*"), key=number_of) if _is_run(run)]


def continued(checkpoint: Path) -> Interrupted:
    """Return the run of a single checkpoint, which a new run continues.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    if not checkpoint.is_file():
        raise InputError(
            f"{checkpoint}: no checkpoint to resume from, expected last, a .ckpt file or the folder of a run"
        )
    run = run_of_model(str(checkpoint)) or checkpoint.parent
    return _at_checkpoint(run, checkpoint, read_checkpoint(checkpoint), in_place=False, at_start=True)


def _is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run, even if it was interrupted before its training had begun."""
    return _has_checkpoints(folder) or ((folder / OPTIONS).exists() and _is_empty(folder))


def _has_checkpoints(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or (folder / START).is_file()


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds at most what is written before a training begins."""
    # Read lazily, because the first other file decides.
    names = (path.name for path in folder.rglob("*") if not is_temporary(path))
    return all(name in BEFORE_TRAINING or name.startswith("events.out.tfevents") for name in names)


def _newest_good(run: Path) -> Interrupted:
    """Return a run at its latest complete checkpoint, or at the one that it continues; set a damaged one aside with a warning.

    Raises:
        InputError: all checkpoints are damaged, or the checkpoint that the run continues is missing.
    """
    folder, error = run / "checkpoints", None
    found = [path for path in (folder / LAST, folder / PREVIOUS, run / START) if path.is_file()]
    for path in found:
        try:
            content = read_checkpoint(path)
        except InputError as this:
            if path != found[-1]:
                say_once(f"peclip: warning: {this}: trying the one before it", error=True)
            error = this
            continue
        # Otherwise the next checkpoint would replace the good one. Only rank 0 moves it.
        if error and (folder / LAST).exists() and not process_rank():
            (folder / LAST).replace(folder / "damaged.ckpt")
        return _at_checkpoint(run, path, content, at_start=path.name == START)
    if error:
        raise error
    _check_begins(run)
    return Interrupted(run)


def _check_begins(run: Path) -> None:
    """Check that a run without a checkpoint began without one: earlier versions kept no copy of the ``.ckpt`` that a run continued.

    Raises:
        InputError: the first step in its files is not step 0.
    """
    epoch = next((row["epoch"] for row in logged_rows(run) if _is_step(row.get("epoch"))), "0")
    signs = {CHANGES: any(change.step for change in read_changes(run)), METRICS: int(epoch) > 0}
    if found := next((name for name, is_later in signs.items() if is_later), None):
        raise InputError(
            f"{run} has no checkpoint, but its {found} does not begin at step 0: put its checkpoint back, or continue the .ckpt "
            "that it continued in a new run with --ckpt_path FILE.ckpt"
        )


def _at_checkpoint(
    run: Path, checkpoint: Path, content: dict[str, Any], in_place: bool = True, at_start: bool = False
) -> Interrupted:
    """Return a run at a checkpoint.

    Raises:
        InputError: the checkpoint holds only weights, or an entry of another type than peclip writes.
    """
    check_states(content, str(checkpoint))
    try:
        epochs = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        steps, epochs = int(content["global_step"]), int(epochs)
        found = content["callbacks"].get(LastCheckpoint.__name__, {})
        state = {name: entry for name, entry in found.items() if isinstance(entry, dict)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{checkpoint} holds weights, but not the state of a training: start from it with --init_from"
        ) from error
    return Interrupted(run, checkpoint, steps, epochs, state, in_place, at_start, ended=found.get(ENDED) is True)


def keep_metrics(run: Interrupted, logger: CSVLogger) -> None:
    """Keep the rows of ``metrics.csv`` of the steps before the checkpoint, which Lightning would delete.

    They are in another file until the new one is written, so that a second interruption loses nothing.

    Raises:
        InputError: a file that Lightning writes is a link.
    """
    before, metrics = run.folder / METRICS_BEFORE, run.folder / METRICS
    for written in (metrics, run.folder / HPARAMS):  # Lightning would write to the target of a link
        if written.is_symlink():
            raise InputError(f"{written}: is a link, expected a file of the run: put the file itself there to resume")
    if metrics.exists() and not before.exists():
        metrics.replace(before)
    writer = logger.experiment
    if before.exists():
        writer.metrics = [row for row in _rows(before) if int(row["step"]) < run.steps]
        writer.save()
        before.unlink()


def logged_rows(run: Path) -> list[dict[str, Any]]:
    """Return all rows of the metrics of a run that was interrupted, without empty values.

    Raises:
        InputError: the metrics cannot be read.
    """
    found = (path for path in (run / METRICS_BEFORE, run / METRICS) if path.exists())
    return _rows(path) if (path := next(found, None)) else []


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of metrics; its last line may be incomplete, and is omitted.

    Raises:
        InputError: the file is not UTF-8, or a cell is longer than Python's reader allows.
    """
    try:
        text = read_regular_text(path)
        rows = [*csv.DictReader(text[: text.rfind("\n") + 1].splitlines())]
    except (UnicodeDecodeError, csv.Error) as error:
        advice = "remove it to resume without the metrics of the steps before"
        raise InputError(f"{path} cannot be read: {first_line(error)}: {advice}") from error
    # Cells beyond the header have no name.
    return [{name: value for name, value in row.items() if name and value} for row in rows if _is_step(row.get("step"))]


def _is_step(cell: str | None) -> bool:
    return cell is not None and cell.isdecimal() and len(cell) <= MOST_DIGITS


def remove_empty_run(folder: Path, runs: Path) -> None:
    """Remove the folder of a run that holds at most what is written before a training, and empty folders above it."""
    if _is_empty(folder):
        remove_folder(folder, [above for above in folder.parents if above.is_relative_to(runs)])
