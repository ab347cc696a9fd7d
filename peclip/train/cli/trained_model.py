"""The trained model that a command line names: the options that it brings along, and the model itself.

``peclip test --ckpt_path MODEL`` needs nothing else: backbone, adapters, prompts, labels, class texts and clip format
are those of the model, whether it is a run, a ``.ckpt``, a package or a released ``.pth``. What the command line states
otherwise is refused, unless it makes sense: another place of the same backbone, other class texts, another T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from peclip.errors import InputError, in_one_line
from peclip.model import PEClip
from peclip.model.io import Trained, read_trained
from peclip.model.io.spec import describe, resolve
from peclip.train.runs.folder import run_of_model

FREE = ("backbone", "texts", "compile", "checkpointing")
"""Options of the model that may differ from those of its training."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model that a command line names.

    Attributes:
        trained: what was read.
        option: that names it.
    """

    trained: Trained
    option: str

    def options(self) -> dict[str, Any]:
        """Return the options that the model brings along, as a configuration would hold them."""
        config = self.trained.config
        net: dict[str, Any] = {
            "backbone": config.backbone,
            "adapters": config.adapters,
            "prompts": config.prompts,
            "logit_scale": config.logit_scale,
            "num_frames": config.clip_format.num_frames,
            "normalize": "backbone" if config.clip_format.is_normalised else "none",
        }
        if config.texts is not None:
            net["texts"] = dict(config.texts)
        return {"model": {"net": net}, "data": {"labels": list(config.labels)}}

    def build(self, given: Mapping[str, Any]) -> PEClip:
        """Build the model.

        Args:
            given: the options of the model as the command line has them, those of :meth:`options` where it says nothing.

        Raises:
            InputError: an option contradicts the model, or the model cannot be built.
        """
        own = self.options()["model"]["net"]
        for name, value in own.items():
            if name not in FREE and (stated := _plain(given[name])) != _plain(value):
                raise InputError(
                    f"model.net.{name} is {_shown(stated)}, but {self.trained.source} was trained with "
                    f"{_shown(_plain(value))}: leave the option out"
                )
        texts = given["texts"] if "texts" in own and given["texts"] != own["texts"] else None
        backbone = given["backbone"] if given["backbone"] != own["backbone"] else None
        return PEClip.from_trained(
            self.trained, backbone, texts=texts, compile=given["compile"], checkpointing=given["checkpointing"]
        )


def value_of(args: Sequence[str], option: str) -> str | None:
    """Return the value of an option on a command line, the last one; None where it is not given."""
    found = None
    for place, arg in enumerate(args):
        name, sign, value = arg.partition("=")
        if name == option:
            found = value if sign else next(iter(args[place + 1 :]), None)
    return found


def read_model(source: str, option: str) -> TrainedModel:
    """Read the trained model that an option names.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    return TrainedModel(read_trained(source), option)


def run_options(source: str, other_data: bool) -> dict[str, Any]:
    """Return the options of the run that a model is from: its data, its precision and its seed; nothing for others.

    Args:
        source: the model.
        other_data: whether the command line names other clips, to which the folds and splits of the run do not apply.

    Raises:
        InputError: the configuration of the run cannot be read.
    """
    run = run_of_model(source)
    path = run / "config.yaml" if run else Path()
    if not run or not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {in_one_line(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected options, such as name, trainer, model and data")
    data, model, trainer = (_section(found, name) for name in ("data", "model", "trainer"))
    model = _section(model, "init_args") if "class_path" in model else model
    dropped = {"labels", "num_frames", *MOVED, *(SOURCE if other_data else ())}
    kept = {
        "data": {name: value for name, value in data.items() if name not in dropped},
        "model": {name: value for name, value in model.items() if name in ("zero_shot", "frozen")},
        "trainer": {name: value for name, value in trainer.items() if name == "precision" and isinstance(value, str)},
    }
    options: dict[str, Any] = {name: values for name, values in kept.items() if values}
    seed = found.get("seed_everything")
    return options | ({"seed_everything": seed} if isinstance(seed, int) else {})


SOURCE = ("manifest", "root", "benchmark", "options", "fold", "val")
"""Options of the data that say which clips there are, and what they are for."""

MOVED = ("image_size", "normalize")
"""Options of the data in runs of peclip 0.1.0, which the clip format of the model holds now."""


def _section(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = options.get(name)
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """Return an option as plain data that can be compared: factories and specs with all their arguments."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping) and "class_path" not in value:
        return {name: _plain(entry) for name, entry in value.items() if entry is not None}
    spec: Any = value if isinstance(value, Mapping) else describe(value)
    parameters = signature(resolve(spec, nn.Module).func).parameters.values()  # type: ignore[attr-defined]
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {"class_path": spec["class_path"].rpartition(".")[2], "init_args": defaults | spec["init_args"]}


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
