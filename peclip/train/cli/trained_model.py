"""Read the trained model that a command line names, and the options that come with it.

``peclip test --ckpt_path MODEL`` needs nothing else: backbone, adapters, prompts, labels, class texts and clip format
are those of the model, whether it is a run, a ``.ckpt``, a package or a released ``.pth``. Contradicting options
are refused, except another location of the same backbone, another T and other class texts, with which the model may
recognize classes that it was not trained on. A training that starts from a
model reads labels and class texts from its own data.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from peclip.class_texts import class_texts, texts_by_name
from peclip.errors import InputError, listed, shown
from peclip.labels import class_names
from peclip.model import PEClip
from peclip.model.io import Trained, read_trained
from peclip.model.io.spec import Spec, completed, describe, resolve
from peclip.model.modules import build_prompts
from peclip.model.parts.peft_config import describe_method
from peclip.model.parts.temporal import MeanPool
from peclip.results.options import OPTIONS, SEED_OPTION, read_options, section_of
from peclip.train.runs.folder import run_of_model


@dataclass(frozen=True)
class TrainedModel:
    """A trained model that a command line names.

    Attributes:
        trained: the model as plain data.
        option: name of the option that names it.
    """

    trained: Trained
    option: str

    def options(self) -> dict[str, Any]:
        """Return the options that come with the model, as a configuration contains them.

        An evaluation uses class texts, precision and labels (see :meth:`labels`) of the model; a training reads its own.
        """
        config = self.trained.config
        net: dict[str, Any] = {
            "backbone": config.backbone,
            "adapters": {site: _present(spec) for site, spec in config.adapters.items()},
            "prompts": _present(config.prompts) if config.prompts else None,
            "temporal": asdict(describe(MeanPool)) if config.temporal is None else _present(config.temporal),
            "peft": asdict(config.peft) if config.peft else None,
            "norms": config.norms,
            "logit_scale": config.logit_scale,
            "num_frames": config.clip_format.num_frames,
            "normalize": "backbone" if config.clip_format.is_normalised else "none",
            "upright": config.clip_format.upright,
        }
        if self.option == "init_from":
            return {"model": {"net": net}}
        if config.texts is not None:
            net["texts"] = {label: text if isinstance(text, str) else [*text] for label, text in config.texts.items()}
        options: dict[str, Any] = {"model": {"net": net}}
        precision = self.trained.record.training.get("precision") if self.trained.record else None
        return options | ({"trainer": {"precision": precision}} if isinstance(precision, str) else {})

    def labels(self, found: Sequence[str], texts: Any) -> Sequence[str] | None:
        """Return the labels of an evaluation that sets none.

        They are those of the model. With other class texts the model may recognize other classes: those of the data if they
        are not all among the model's, or, if the data have no labels, those of the texts.

        Args:
            found: labels of the data.
            texts: the option.

        Returns:
            The labels; None for those of the data.
        """
        own = self.trained.config.labels
        if texts == self.options()["model"]["net"].get("texts", "action_units"):
            return own
        if not found and isinstance(texts, Mapping):
            return class_names([*texts])
        return own if {*found} <= {*own} else None

    def build(self, given: Mapping[str, Any]) -> PEClip:
        """Build the model.

        Args:
            given: the options of the model on the command line; those of :meth:`options` by default.

        Raises:
            InputError: an option contradicts the model, or the model cannot be built.
        """
        own = self.options()["model"]["net"]
        self._check_adapters(given["adapters"] or {}, given["without"] or ())
        for name in ("logit_scale", "num_frames", "normalize", "upright"):
            if given[name] is not None:
                self._check(name, given[name], own[name])
        trained = self._with_texts(given["labels"], given["texts"], own.get("texts", "action_units"))
        if self.option == "init_from":  # the temperature is that of the weights as they were
            trained = replace(trained, config=replace(trained.config, temperature=1.0))
        backbone = given["backbone"] if given["backbone"] != own["backbone"] else None
        execution = (given[name] for name in ("compile", "checkpointing", "activation_memory_budget"))
        net = PEClip.from_trained(trained, backbone, *execution)
        prompts = given["prompts"] and build_prompts(net.backbone, given["prompts"])[1]  # as deep as they are here
        self._check("prompts", _plain(prompts and asdict(prompts)), _plain(own["prompts"]))
        self._check("temporal", _plain(given["temporal"]), _plain(own["temporal"]))
        self._check("peft", asdict(describe_method(given["peft"])) if given["peft"] else None, own["peft"])
        self._check("norms", given["norms"], own["norms"])
        return net

    def _check(self, name: str, stated: Any, known: Any) -> None:
        """Check that options of the user agree with those that the model was trained with.

        Raises:
            InputError: an option differs.
        """
        if stated != known:
            raise self._refused(name, _shown(stated), _shown(known))

    def _check_adapters(self, adapters: Mapping[str, Any], without: Collection[str]) -> None:
        """Check the adapters that the user states, those of the sites in ``without`` omitted, against the model's.

        Raises:
            InputError: they differ at a site; the message names only such sites.
        """
        known = {site: _plain(asdict(spec)) for site, spec in self.trained.config.adapters.items()}
        stated = {site: _plain(value) for site, value in adapters.items() if site not in without}
        sites = [site for site in {**known, **stated} if stated.get(site) != known.get(site)]
        if not sites:
            return
        removed = [site for site in without if site in known]
        here, there = ({site: found.get(site) for site in removed or sites} for found in (stated, known))
        name, value = ("without", ", ".join(removed)) if removed else ("adapters", _shown(here))
        raise self._refused(name, value, _shown(there))

    def _refused(self, option: str, stated: str, known: str) -> InputError:
        advice = f", and set --data.num_frames {stated} to read another number of frames" * (option == "num_frames")
        said = f"{option} is {stated}, but {self.trained.source} was trained with {known}: omit it{advice}"
        return InputError(said, option)

    def _with_texts(self, labels: Sequence[str], texts: Any, own: Any) -> Trained:
        """Return the trained model with the labels and class texts that the user states, if they differ."""
        config, labels = self.trained.config, class_names(labels)
        if labels != config.labels and texts == own and self.option != "init_from":
            raise InputError(
                f"{self.trained.source} was trained on the labels {listed(config.labels)}, but data.labels is "
                f"{listed(labels)}: omit it"
            )
        if labels == config.labels and texts == own:
            return self.trained
        if isinstance(texts, Mapping) and self.option != "init_from":
            texts = {**(config.texts or {}), **texts_by_name(texts)}
        sentences = dict(zip(labels, class_texts(labels, texts), strict=True))
        other = replace(config, labels=labels, texts=sentences, token_ids=None)
        return replace(self.trained, config=other)


def read_model(source: str, option: str) -> TrainedModel:
    """Read the trained model that an option names.

    Raises:
        InputError: there is no such model, or it cannot be read.
    """
    return TrainedModel(read_trained(source), option)


def run_options(source: str, other_data: bool, trusted: bool) -> dict[str, Any]:
    """Return the options of the run that a model is from: its data, its precision and its seed; empty for other models.

    Args:
        source: the model, as the command line names it.
        other_data: whether the command line names other clips, to which the folds and splits of the run do not apply.
        trusted: whether the run may name an address to download from.

    Raises:
        InputError: the configuration of the run cannot be read, or its manifest is not found.
    """
    run = run_of_model(source)
    found = read_options(run) if run else None
    if run is None or found is None:
        return {}
    path = run / OPTIONS
    data, model, trainer = (section_of(found, name) for name in ("data", "model", "trainer"))
    model = section_of(model, "init_args") if "class_path" in model else model
    for name in SECTIONS_OF_DATA:
        if not isinstance(data.get(name, {}), dict):
            raise InputError(f"{path}: data.{name} is {shown(data[name])}, expected options below it")
    manifest = str(data.get("manifest"))
    if not (trusted or other_data) and "://" in manifest:
        raise InputError(f"{path}: data.manifest is the address {manifest}: name it with --data.manifest as well")
    if not other_data:
        _check_manifest(run, data.get("manifest"))
    dropped = {"labels", "num_frames", "soft_labels", *MOVED, *(SOURCE if other_data else ())}
    kept = {
        "data": {name: value for name, value in data.items() if name not in dropped},
        "model": {name: value for name, value in model.items() if name in ("zero_shot", "frozen", "residual")},
        "trainer": {name: value for name, value in trainer.items() if name == "precision" and isinstance(value, str)},
    }
    options: dict[str, Any] = {name: values for name, values in kept.items() if values}
    seed = found.get(SEED_OPTION)
    return options | ({SEED_OPTION: seed} if type(seed) is int else {})


def _check_manifest(run: Path, manifest: Any) -> None:
    """Check that the manifest of a run exists, because the user has not typed its name.

    Raises:
        InputError: there is no such file.
    """
    if isinstance(manifest, str) and "://" not in manifest and not Path(manifest).exists():
        place = "" if Path(manifest).is_absolute() else ", relative to the folder where that was started"
        raise InputError(
            f"{manifest}: no such file; it is the manifest of the training of {run}{place}: name it with --data.manifest"
        )


SOURCE = ("manifest", "root", "benchmark", "options", "fold", "val", "shots")
"""Options of the data that choose the clips and their splits."""

SECTIONS_OF_DATA = ("augment", "mix", "views")
"""Options of the data that are sections of options."""

MOVED = ("image_size", "normalize")
"""Options of the data in runs of peclip 0.1.0, which the clip format of the model holds now."""


def _present(spec: Spec) -> dict[str, Any]:
    """Return a class that a file names as a configuration names it now, with its arguments."""
    return asdict(describe(resolve(spec, nn.Module)))


def _plain(value: Any) -> dict[str, Any] | None:
    """Return a factory or a spec as plain data that can be compared: the class with all its arguments."""
    if value is None:
        return None
    return asdict(completed(Spec(**value) if isinstance(value, Mapping) else describe(value)))


def _shown(value: Any) -> str:
    """Return an option as in a command line: classes with their arguments, adapters by site."""
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Mapping):
        return str(value)
    if "class_path" not in value:
        return ", ".join(f"{name}: {_shown(entry)}" for name, entry in value.items())
    arguments = ", ".join(f"{name}={entry}" for name, entry in value["init_args"].items())
    return f"{value['class_path'].rpartition('.')[2]}({arguments})"
