"""Choose the folder of a run, or of the results of an evaluation."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError
from peclip.train.private_hooks import process_rank
from peclip.train.runs.folder import RUNS, VERSION, check_new_folder, evaluation_folder, next_folder, own_logger
from peclip.train.runs.recorder import Recorder
from peclip.train.runs.resume import Interrupted, continued, interrupted_run
from peclip.train.runs.shards import check_shards_option


def find_interrupted(options: Namespace) -> Interrupted | None:
    """Find the run that a training continues, and set ``ckpt_path`` to its checkpoint; return None if the training is new.

    Raises:
        InputError: there is no such run, or it cannot be continued.
    """
    if not options.ckpt_path:
        return None
    if options.ckpt_path != "last" and not Path(options.ckpt_path).is_dir():
        return continued(Path(options.ckpt_path))
    if (
        options.folder
        and options.ckpt_path != "last"
        and Path(options.folder).resolve() != Path(options.ckpt_path).resolve()
    ):
        raise InputError(
            f"folder is {options.folder}, but the run {options.ckpt_path} resumes in its own folder: omit one of them; a new run "
            "continues a .ckpt, such as checkpoints/last.ckpt"
        )
    run = interrupted_run(options.ckpt_path, _runs(options), Path(options.folder) if options.folder else None)
    options.ckpt_path = str(run.checkpoint) if run and run.checkpoint else None
    return run


def choose_folder(options: Namespace, subcommand: str, resumed: Interrupted | None) -> Path:
    """Return the folder of a run, or of the results of an evaluation; a resumed run keeps its own.

    Raises:
        InputError: the folder that the options name is not empty.
    """
    if subcommand == "fit":
        if resumed and resumed.in_place:
            return resumed.folder
        folder = Path(options.folder) if options.folder else next_folder(_runs(options), VERSION)
    elif options.get("shards") is not None:
        check_shards_option(options, first=not process_rank())
        return Path(options.out or options.shards)  # a restart uses the same folder
    elif options.out:
        folder = Path(options.out)
    else:
        folder = evaluation_folder(options.ckpt_path, subcommand, _runs(options))
    # Only on rank 0, because the other ranks start after it has created the folder.
    if not process_rank():
        check_new_folder(folder, "folder" if subcommand == "fit" else "out")
    return folder


def choose_loggers(given: Any, folder: Path, recorder: Recorder | None) -> Any:
    """Return the loggers of a run: a CSV logger for its folder comes first, unless logging is off.

    Args:
        given: value of the option ``trainer.logger``.
        folder: folder of the run.
        recorder: recorder of a training; None for an evaluation.
    """
    if given is False:
        return False
    listed = [] if given in (None, True) else given if isinstance(given, list) else [given]
    others = [logger for logger in listed if not _is_csv(logger)]
    return [own_logger(folder), *(recorder.loggers(others, folder) if recorder else others)]


def _is_csv(logger: Any) -> bool:
    """Return whether a logger of the options is Lightning's CSV logger, which decides the folder of the runs."""
    return isinstance(logger, Namespace) and logger.class_path.endswith(CSVLogger.__name__)


def _runs(options: Namespace) -> Path:
    """Return the folder that holds the runs of this name: that of a CSV logger, if one is given."""
    given = options.trainer.logger
    loggers = given if isinstance(given, list) else [given]
    place = next((each.init_args for each in loggers if _is_csv(each)), None)
    return Path(place.save_dir, place.name or "") if place else Path(RUNS, options.name)
