"""Decide what may differ when a run resumes: its options, by name, and its clips, by their digests.

An option that does not affect the result may differ; an option that applies to the steps to come may differ if the user
allows it; any other difference is refused. A run records every difference in changes.yaml with its step; config.yaml stays.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.results.evaluation import METRICS
from peclip.results.options import DEVICES, FREE, LOCATION, OPTIONS, OptionChange, by_name, read_changes, read_options
from peclip.train.runs.clips import same_batches, split_digests
from peclip.train.runs.folder import ALLOW
from peclip.train.runs.resume import Interrupted

SHOWN = 6
"""Maximum number of options that a message lists."""

VERIFIED = frozenset(
    {
        f"model.net.{name}"
        for name in ("adapters", "backbone", "labels", "norms", "peft", "prompts", "temporal", "texts", "without")
    }
)
"""Options that are compared with the checkpoint itself (see check_fits), because a configuration may express them in several ways."""

RATES = ("model.lr_adapters", "model.lr_prompts", "model.lr_temporal", "model.lr_peft", "model.lr_norms")

SCHEDULE = frozenset(
    {
        *RATES,
        *("trainer.max_epochs", "trainer.max_steps", "model.weight_decay"),
        *("model.warmup_epochs", "model.warmup_lr", "model.schedule", "model.step_epochs", "model.step_factor"),
    }
)
"""Options that decide the learning rates and the weight decay of the steps to come."""

APPLIED = SCHEDULE | {
    *("trainer.min_epochs", "trainer.min_steps", "trainer.max_time", "trainer.val_check_interval"),
    *("trainer.check_val_every_n_epoch", "trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"),
    *("trainer.limit_test_batches", "trainer.callbacks", "trainer.deterministic", "trainer.benchmark"),
    *("trainer.reload_dataloaders_every_n_epochs", "model.net.compile", "data.eval_batch_size", "data.on_error"),
    *("model.calibrate", "model.net.activation_memory_budget"),
}
"""Options that affect the result, and can change at a step."""

EVALUATED = frozenset({"trainer.limit_test_batches", "data.eval_batch_size", "data.on_error"})
"""Options that also apply to the evaluation at the end of a run: if it has failed, it may be repeated with other values."""

LIMITS = ("trainer.max_epochs", "trainer.max_steps")
"""Limits of a training; a higher one only asks for more training."""

INIT_FROM = "init_from"
"""Option that names the model that a training starts from; the options of other trainings lack it."""

ON_SCREEN = ("RichProgressBar", "TQDMProgressBar", "RichModelSummary", "ModelSummary", "DeviceStatsMonitor")
"""Callbacks that only show the training."""


def changes_on_resuming(
    run: Interrupted, options: Mapping[str, Any], defaults: Mapping[str, Any], allowed: bool
) -> tuple[OptionChange, ...]:
    """Return how the options of a resumed run have changed up to now, earlier changes first.

    Args:
        run: run that resumes.
        options: options that it resumes with, by section.
        defaults: default options, which stand for those that the record of an earlier version lacks.
        allowed: whether options that affect the steps to come may change.

    Raises:
        InputError: options differ that may not; the message names all of them, with both values. Or a single checkpoint has
            reached the end of its training: a new run would have no step, and no checkpoint.
    """
    earlier = read_changes(run.folder)
    known = _by_plain_name(defaults) | _by_plain_name(recorded_options(run))
    stated = _by_plain_name(options)
    # A checkpoint has the weights of the model that its training started from.
    absent = ["model.class_path", *([] if run.checkpoint else [INIT_FROM])]
    stated = dict.fromkeys(name for name in absent if name in known) | stated
    names = {_plain(name): name for name, _ in by_name(options)}
    found = [
        OptionChange(run.steps, names.get(name, name), known.get(name), value)
        for name, value in stated.items()
        if _differs(name, known.get(name), value)
    ]
    agreed = {change.option: change.now for change in earlier}
    asked = [change for change in found if not (change.option in agreed and agreed[change.option] == change.now)]
    _check_allowed(run, asked, known, stated, allowed)
    # Changes relative to the continued checkpoint stay recorded.
    keeps_all = run.in_place and run.at_start and (run.folder / OPTIONS).exists()
    return (*(change for change in earlier if keeps_all or change.step < run.steps), *found)


def _check_allowed(
    run: Interrupted, asked: list[OptionChange], known: Mapping[str, Any], stated: Mapping[str, Any], allowed: bool
) -> None:
    """Check that a run may resume with changed options.

    Args:
        run: run that resumes.
        asked: changes that the run has not made before.
        known: all options before, by their plain names.
        stated: all options now, by their plain names.
        allowed: whether options that affect the steps to come may change.

    Raises:
        InputError: as :func:`changes_on_resuming`.
    """
    kinds = [_kind(change, run, known, stated) for change in asked]
    fixed, applied = (
        [change for change, kind in zip(asked, kinds, strict=True) if kind == which] for which in ("fixed", "applied")
    )
    if fixed:
        recorded = run.folder / OPTIONS
        raise _refused(
            run, fixed, "resume with the same" + (f" (add --config {recorded})" if recorded.exists() else "")
        )
    over = _reached(run, stated)
    to_come = frozenset() if (run.folder / METRICS).exists() else EVALUATED
    idle = [change for change in applied if change.option not in to_come]
    if idle and over and _reached(run, known):
        advice = "it is finished, so nothing of this would apply: raise trainer.max_epochs"
        raise _refused(run, idle, advice)
    if over and run.at_start:
        advice = f"raise {over} to continue it, or evaluate it with peclip test"
        raise InputError(f"{run.checkpoint} has reached {over} {stated[over]}, so nothing would be trained: {advice}")
    unasked = [change for change in applied if not _extends(change)]
    if unasked and not allowed:
        advice = f"resume with the same, set --{ALLOW} true to change this from step {run.steps} on"
        raise _refused(run, unasked, advice)


def changed_at(run: Interrupted, changes: Iterable[OptionChange]) -> set[str]:
    """Return the plain names of the options that change at the checkpoint from which a run resumes."""
    return {_plain(change.option) for change in changes if change.step == run.steps}


def repeats_steps(run: Interrupted, changes: Iterable[OptionChange]) -> bool:
    """Return whether the steps after a checkpoint have the same results as before the interruption."""
    return changed_at(run, changes) <= FREE | LOCATION | {"data.batch_size"}


def mixed_results(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[OptionChange]:
    """Yield the differences, between two sets of options by section, that make their results incomparable."""
    harmless = (FREE | LOCATION) - DEVICES - {"model.zero_shot"}
    first, second = dict(by_name(before)), dict(by_name(now))
    for name in dict.fromkeys((*second, *first)):
        if _plain(name) not in harmless and first.get(name) != second.get(name):
            yield OptionChange(0, name, first.get(name), second.get(name))


def check_same_clips(run: Interrupted, trainer: Trainer, data: VideoDataModule) -> None:
    """Check that a run resumes with the clips and the batches that it was trained with.

    Raises:
        InputError: the clips or the batches are others.
    """
    start_again = f"or start a new run{_how(run)}"
    for name, value in same_batches(trainer, data).items():
        if run.state.get("order", {}).get(name, value) != value:
            raise InputError(
                f"{_source(run)} was trained with the {name} {run.state['order'][name]}, which is {value} now: resume with "
                f"the same, {start_again}"
            )
    known = run.state.get("clips", {})
    for split, digest in split_digests(data).items() if known else ():
        if known.get(split) != digest:
            raise InputError(
                f"{data.source.source} has other {split} clips than {_source(run)} was trained with (paths, labels, times or "
                f"their order): restore it, {start_again}"
            )


def recorded_options(run: Interrupted) -> dict[str, Any]:
    """Return the options of a run at its checkpoint, which holds them; those of earlier versions are in the folder of the run.

    A run that continues a checkpoint of another run has its own options from the start.

    Raises:
        InputError: neither the checkpoint nor the folder has them.
    """
    own = read_options(run.folder) if run.in_place and run.at_start else None
    found = own or run.state.get("options") or read_options(run.folder, run.steps)
    if not found:
        raise InputError(
            f"{run.checkpoint or run.folder}: the options of its training are not known, because {run.folder} has no "
            f"config.yaml: restore it, or start a new run from its weights with --init_from {run.checkpoint or run.folder}"
        )
    return found


def _plain(name: str) -> str:
    """Return the name of an option without the section of a custom module."""
    return name.replace("model.init_args.", "model.")


def _by_plain_name(options: Mapping[str, Any]) -> dict[str, Any]:
    return {_plain(name): value for name, value in by_name(options)}


def _differs(name: str, before: Any, now: Any) -> bool:
    if name in VERIFIED or (name == "data.labels" and now is None):
        return False
    if name == "trainer.callbacks":
        before, now = _with_effect(before), _with_effect(now)
    return bool(before != now)


def _with_effect(callbacks: Any) -> list[Any]:
    """Return the callbacks of a configuration without those that only show the training."""
    listed = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    paths = [each.get("class_path") if isinstance(each, Mapping) else each for each in listed]
    return [each for each, path in zip(listed, paths, strict=True) if str(path).rpartition(".")[2] not in ON_SCREEN]


def _kind(
    change: OptionChange, run: Interrupted, known: Mapping[str, Any], stated: Mapping[str, Any]
) -> Literal["free", "applied", "fixed"]:
    """Return whether an option may differ (free), may differ if the user allows it (applied), or may not differ (fixed).

    Args:
        change: change of the option.
        run: run that resumes.
        known: all options before, by their plain names.
        stated: all options now, by their plain names.
    """
    name = _plain(change.option)
    # The clips of a step may be spread over other devices, and a new run chooses and keeps its own checkpoints.
    spread = name == "data.batch_size" and any(known.get(option) != stated.get(option) for option in DEVICES)
    elsewhere = not run.in_place and name.startswith("checkpoint.")
    if name in FREE or elsewhere or (spread and "order" in run.state) or (name in LOCATION and "clips" in run.state):
        return "free"
    if run.checkpoint is None:
        return "applied"
    if name in RATES and stated.get("model.lr_scheduler") is not None:
        return "fixed"  # a custom scheduler may transform the rates, so they cannot be changed here
    return "applied" if name in APPLIED | LOCATION else "fixed"


def _extends(change: OptionChange) -> bool:
    """Return whether a change only asks for more training."""
    limits = (change.before, change.now)
    if change.option not in LIMITS or not all(isinstance(limit, int) for limit in limits):
        return False
    before, now = (limit if limit >= 0 else float("inf") for limit in limits)
    return now > before


def _reached(run: Interrupted, options: Mapping[str, Any]) -> str | None:
    """Return the option whose limit of the training a run has reached; None if it has reached none."""
    done = {"trainer.max_epochs": run.epochs, "trainer.max_steps": run.steps}
    limits = {name: options.get(name) for name in LIMITS}
    return next((name for name, limit in limits.items() if limit not in (None, -1) and done[name] >= limit), None)


def _refused(run: Interrupted, changes: list[OptionChange], advice: str) -> InputError:
    said = [f"{change.option} {in_short(change.before)} (now {in_short(change.now)})" for change in changes[:SHOWN]]
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return InputError(
        f"{_source(run)} was trained with {', '.join(said)}{more}: {advice}, or start a new run{_how(run)}"
    )


def _source(run: Interrupted) -> Path | None:
    return run.folder if run.in_place else run.checkpoint


def _how(run: Interrupted) -> str:
    return " (omit --ckpt_path)" if run.in_place else f" from its weights with --init_from {run.checkpoint}"


def in_short(value: Any) -> str:
    """Return the value of an option as a line shows it."""
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
