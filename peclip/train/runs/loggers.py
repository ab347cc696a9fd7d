"""Let the loggers besides that of metrics.csv continue an interrupted run: in the same run of theirs, without repeated steps."""

import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from peclip.errors import InputError, shown
from peclip.files import write_json
from peclip.results.records import from_json, read_json
from peclip.train.runs.folder import VERSION, as_text, next_folder
from peclip.train.runs.wandb_logger import Row, row_of

FILE = "loggers.json"

TENSORBOARD, WANDB = "TensorBoardLogger", "WandbLogger"

_RESUMES = "resume", "resume_from", "fork_from"
"""Options of a WandbLogger by which the user decides how W&B resumes; without them it would overwrite the run of the same id."""


@dataclass(frozen=True)
class Logs:
    """State of the loggers of a run, besides that of metrics.csv: the content of loggers.json.

    Attributes:
        tensorboard: folder of each TensorBoardLogger, in its save_dir and name.
        wandb: id of the run of each WandbLogger.
        ahead: rows of steps after the checkpoint, which were logged before an interruption and will be repeated.

    Raises:
        InputError: an id of W&B is not valid.
    """

    tensorboard: tuple[str, ...] = ()
    wandb: tuple[str, ...] = ()
    ahead: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        for name in self.wandb:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
                raise InputError(f"wandb is {shown(name)}, expected letters, digits, - and _")


def read_logs(run: Path) -> Logs:
    """Read loggers.json; return empty logs if the run has none.

    Raises:
        InputError: the file is damaged.
    """
    content = read_json(run / FILE)
    return Logs() if content is None else from_json(Logs, content, str(run / FILE))


def write_logs(run: Path, logs: Logs) -> None:
    """Write loggers.json, if there are such loggers."""
    if logs.tensorboard or logs.wandb:
        write_json(run / FILE, asdict(logs))


def identified(loggers: Sequence[Any], folder: Path, known: Logs, steps: int | None) -> tuple[list[Any], Logs]:
    """Return the loggers of a configuration with the runs that they log to, and the names of these runs.

    A TensorBoardLogger whose save_dir and name are those of the run logs into the run's folder.

    Args:
        loggers: loggers of the configuration.
        folder: folder of the run.
        known: names that the run had before it was interrupted; they are kept.
        steps: step of the checkpoint from which a run resumes in its folder; later steps are repeated. None for a new run.

    Raises:
        InputError: a known name of a folder leads out of the folder of the logger.
    """
    named: list[Any] = []
    logs = replace(known, tensorboard=(), wandb=())
    for logger in loggers:
        kind = logger.class_path.rpartition(".")[2] if isinstance(logger, Namespace) else None
        if kind == TENSORBOARD:
            stated = logger.init_args.get("version") is not None
            before = None if stated else _next(known.tensorboard, logs.tensorboard)
            version = _tensorboard(logger.init_args, folder) if before is None else _name_of_folder(before)
            logs = replace(logs, tensorboard=(*logs.tensorboard, version))
            logger = logger.clone()
            logger.init_args.update(Namespace(version=version, purge_step=steps))
        elif kind == WANDB and _names_run(logger.init_args):
            if steps is not None and not any(logger.init_args.get(name) for name in _RESUMES):
                logger = logger.clone()
                logger.init_args.resume = _resumed(logger.init_args)
        elif kind == WANDB:
            version = _next(known.wandb, logs.wandb) or secrets.token_hex(4)
            logs = replace(logs, wandb=(*logs.wandb, version))
            logger = logger.clone()
            logger.init_args.update(Namespace(version=version, resume=_resumed(logger.init_args)))
        named.append(logger)
    return named, logs


def _next(known: Sequence[str], used: Sequence[str]) -> str | None:
    return known[len(used)] if len(used) < len(known) else None


def _name_of_folder(name: str) -> str:
    """Return a name from loggers.json after checking it: the file may be from elsewhere.

    Raises:
        InputError: the name is not that of a folder.
    """
    plain = name.removeprefix("./")  # see as_text
    if plain in ("", ".", "..") or any(letter in plain for letter in "/\\\0"):
        raise InputError(f"{FILE}: tensorboard is {shown(name)}, expected the name of a folder")
    return name


def _tensorboard(options: Namespace, folder: Path) -> str:
    """Return the folder of a new TensorBoardLogger."""
    if options.get("version") is not None:
        version = options.version
        return version if isinstance(version, str) else f"{VERSION}_{version}"
    parent = Path(options.save_dir, options.get("name") or "")
    same = parent.resolve() == folder.parent.resolve()
    return as_text(folder.name) if same else next_folder(parent, VERSION).name


def _resumed(options: Namespace) -> str | None:
    """Return the option with which W&B resumes; offline it is omitted, because W&B cannot ask its server and would warn."""
    offline = options.get("offline") or os.environ.get("WANDB_MODE", "online") != "online"
    return None if offline else "allow"


def _names_run(options: Namespace) -> bool:
    """Return whether a WandbLogger has a run already: one of the user's, or of a sweep."""
    return (
        any(options.get(name) for name in ("version", "id", "resume_from", "fork_from")) or "WANDB_RUN_ID" in os.environ
    )


def rows_ahead(rows: Iterable[Mapping[str, Any]], known: Logs, steps: int) -> tuple[Row, ...]:
    """Return the rows after a checkpoint that were logged in this or an earlier session.

    Args:
        rows: rows of metrics.csv.
        known: names and rows of the earlier sessions.
        steps: step of the checkpoint.
    """
    found = (row_of(int(row["step"]), row) for row in rows)
    return tuple(dict.fromkeys(row for row in (*known.ahead, *found) if row.step >= steps))
