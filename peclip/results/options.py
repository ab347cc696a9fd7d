"""The options of a run: config.yaml, which is written once, and changes.yaml, where resumed runs record what differs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from peclip.configuration import DEPTH, read_yaml
from peclip.errors import InputError, shown
from peclip.files import write_text
from peclip.results.records import from_json

OPTIONS, CHANGES = "config.yaml", "changes.yaml"

SEED_OPTION = "seed_everything"
"""Option of the seed of a run."""

SECTIONS = frozenset(
    {
        *("trainer", "model", "model.init_args", "model.net", "model.init_args.net"),
        *("data", "data.augment", "data.mix", "checkpoint", "last"),
    }
)
"""Names below which there are further options; any other value is that of one option."""

DEVICES = frozenset({"trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"})
"""Options of the devices; the clips of a step, over all devices, have to be the same number."""

FREE = frozenset(
    {
        *("trainer.logger", "trainer.log_every_n_steps", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
        *("trainer.profiler", "trainer.detect_anomaly", "trainer.num_sanity_val_steps", "trainer.inference_mode"),
        *("trainer.default_root_dir", "trainer.limit_predict_batches", "trainer.enable_autolog_hparams"),
        *("trainer.model_registry", "data.num_workers", "data.predict", "model.zero_shot", "model.frozen"),
        *("model.sharded", "model.net.checkpointing", "last.every_n_steps", "checkpoint.verbose", "name"),
        *DEVICES,
    }
)
"""Options that do not affect what is trained and selected: how fast, where, what is shown and logged."""

LOCATION = frozenset({"data.manifest", "data.root", "data.benchmark", "data.options", "data.allow_outside"})
"""Options that locate the clips; a run resumes only with the same ones, which it knows by their digests."""


@dataclass(frozen=True)
class OptionChange:
    """An option that a resumed run has changed.

    Attributes:
        step: optimizer steps that were taken before.
        option: dotted name.
        before: value of the steps before.
        now: value from this step on.

    Raises:
        InputError: the name has more parts than the options of a configuration have levels.
    """

    step: int
    option: str
    before: Any
    now: Any

    def __post_init__(self) -> None:
        if self.option.count(".") >= DEPTH:
            raise InputError(f"option is {shown(self.option)}, expected a name of at most {DEPTH} parts")


def read_options(run: Path, step: int | None = None) -> dict[str, Any] | None:
    """Return the options of a run by section, as a configuration has them; None if it has no config.yaml.

    Args:
        run: folder of the run.
        step: the options of the steps up to this one; by default those after the last change.

    Raises:
        InputError: config.yaml or changes.yaml is damaged.
    """
    options = _read(run / OPTIONS, dict)
    if options is not None:
        for change in read_changes(run):
            if step is None or change.step < step:
                _set(options, change.option.split("."), change.now)
    return options


def read_changes(run: Path) -> tuple[OptionChange, ...]:
    """Return the changes of a run in order; none if it has no changes.yaml.

    Raises:
        InputError: changes.yaml is damaged.
    """
    found, path = _read(run / CHANGES, list), run / CHANGES
    return tuple(
        from_json(OptionChange, content, f"{path}: entry {place}") for place, content in enumerate(found or (), 1)
    )


def write_changes(run: Path, changes: Sequence[OptionChange]) -> None:
    """Write changes.yaml; without changes there is none."""
    if changes:
        write_text(run / CHANGES, yaml.safe_dump(list(map(asdict, changes)), sort_keys=False, default_flow_style=None))
    else:
        (run / CHANGES).unlink(missing_ok=True)


def section_of(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the options of a section by name; none if a file from elsewhere has something else there."""
    section = options.get(name)
    return section if isinstance(section, dict) else {}


def by_name(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield options by their dotted names; a list or a class with its arguments is one value."""
    for key, value in options.items():
        name = f"{prefix}{key}"
        if name in SECTIONS and isinstance(value, Mapping):
            yield from by_name(value, f"{name}.")
        else:
            yield name, value


def _read(path: Path, kind: type) -> Any:
    """Return the content of a YAML file of a run; None if there is no file.

    Raises:
        InputError: it cannot be read, is not valid YAML, or not of this kind.
    """
    if not path.exists():
        return None
    found = read_yaml(path)
    if not isinstance(found, kind):
        raise InputError(f"{path} is damaged: it holds no {'options' if kind is dict else 'changes'}")
    return found


def _set(options: dict[str, Any], name: Sequence[str], value: Any) -> None:
    *sections, option = name
    for section in sections:
        if not isinstance(options.get(section), dict):
            options[section] = {}
        options = options[section]
    options[option] = value
