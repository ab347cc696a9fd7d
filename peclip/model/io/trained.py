"""A trained model as plain data, checked before anything is built from it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from torch import Tensor, nn

from peclip.arguments import check, keep_plain
from peclip.class_texts import Texts, texts_by_name, texts_of
from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError, shown
from peclip.labels import class_names
from peclip.model.backbones.contract import Backbone
from peclip.model.io.spec import Spec, check_import, resolve, with_lists
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.in_place import TrainedNorms
from peclip.model.parts.peft_config import method_of
from peclip.model.parts.prompts import Prompts
from peclip.model.parts.temporal import TemporalHead
from peclip.model.weights import check_weights
from peclip.results.calibration import COLDEST, HOTTEST
from peclip.results.card import RunRecord
from peclip.results.records import from_json

FORMAT = 2
"""Version of what :meth:`ModelConfig.to_plain` returns; raised when an earlier reader would misunderstand it.

Format 1 has ``input`` instead of ``clip_format``: num_frames, image_size, and normalize (clip or none)."""

ENTRIES = (
    *("format", "backbone", "fingerprint", "labels", "adapters", "prompts", "logit_scale", "clip_format"),
    *("texts", "token_ids", "temperature", "temporal", "peft", "norms"),
)


MOST_SITES = 2_000
"""Largest number of sites; the largest CLIPs have less than half as many places for adapters."""

LARGEST_SCALE = 1e6
"""Largest logit scale: those of CLIPs are about 100. Products with one that is not finite in fp32 would be NaN."""

LONGEST_NAME = 4_096
"""Largest number of characters in the name of a backbone: that of a path."""

CLIP_FIELDS = tuple(field.name for field in fields(ClipFormat))

NEWER_FIELDS = frozenset({"upright"})
"""Names of :data:`CLIP_FIELDS` that files of earlier versions lack."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that rebuilds a model around its trained weights.

    Attributes:
        backbone: Hub id, folder or ``demo``.
        fingerprint: digest of the backbone's weights.
        labels: canonical class names in the order of the logits.
        adapters: class and arguments of the adapters, by site.
        prompts: class and arguments of the prompts; None without prompts.
        logit_scale: factor on the cosine similarities; above 0, at most :data:`LARGEST_SCALE`.
        clip_format: format of the clips that the model was made for.
        texts: class texts by label, one or several; None if only the token ids are known.
        token_ids: token ids of the class texts, (C, N), if only these are known; else None.
        temperature: temperature by which logits are divided before the softmax, so that probabilities are calibrated, 0.01 to
            100; 1 if it was not fitted, as in files of earlier versions.
        temporal: class and arguments of the temporal head; None for the mean over the frames.
        peft: configuration of Hugging Face PEFT and its arguments; None without any.
        norms: towers of the backbone whose norms are trained; None for neither.

    Raises:
        InputError: a value is out of range.
    """

    backbone: str
    fingerprint: str
    labels: tuple[str, ...]
    adapters: dict[str, Spec]
    prompts: Spec | None
    logit_scale: float
    clip_format: ClipFormat
    texts: dict[str, Texts] | None = None
    token_ids: tuple[tuple[int, ...], ...] | None = None
    temperature: float = 1.0
    temporal: Spec | None = None
    peft: Spec | None = None
    norms: TrainedNorms | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        check("temperature", self.temperature, float)
        if not (self.backbone.strip() and self.backbone.isprintable() and len(self.backbone) <= LONGEST_NAME):
            raise InputError(f"backbone is {shown(self.backbone)}, expected a Hub id, a folder or demo", "backbone")
        if len(self.adapters) > MOST_SITES:
            raise InputError(f"adapters has {len(self.adapters):,} sites, expected at most {MOST_SITES:,}", "adapters")
        object.__setattr__(self, "labels", class_names(self.labels))
        if self.texts is not None:
            known = texts_by_name(self.texts)
            if missing := [label for label in self.labels if label not in known]:
                raise InputError(f"texts is missing {missing[0]!r}", "texts")
            object.__setattr__(self, "texts", {label: known[label] for label in self.labels})  # the order of the logits
        if not 0 < self.logit_scale <= LARGEST_SCALE:
            expected = f"a number above 0 and at most {LARGEST_SCALE:,.0f}"
            raise InputError(f"logit_scale is {self.logit_scale}, expected {expected}", "logit_scale")
        if self.norms is not None and self.norms not in get_args(TrainedNorms):
            expected = ", ".join(get_args(TrainedNorms))
            raise InputError(f"norms is {shown(self.norms)}, expected {expected} or None", "norms")
        if not COLDEST <= self.temperature <= HOTTEST:
            raise InputError(f"temperature is {self.temperature}, expected {COLDEST:g} to {HOTTEST:g}")

    @property
    def texts_per_class(self) -> tuple[int, ...]:
        """Number of texts of each class; 1 if only token ids are known."""
        return tuple(len(texts_of(each)) for each in self.texts.values()) if self.texts else (1,) * len(self.labels)

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint or package stores: dicts, lists, strings and numbers."""
        known = {name: value for name, value in asdict(self).items() if value is not None or name == "prompts"}
        if self.temperature == 1:
            del known["temperature"]  # earlier versions read what has none
        if not self.clip_format.upright:
            del known["clip_format"]["upright"]
        return {"format": FORMAT, **with_lists(known)}

    @classmethod
    def from_plain(cls, plain: Any, source: str, further: Collection[str] = ()) -> "ModelConfig":
        """Check and return what :meth:`to_plain` of this or an earlier version wrote to a file.

        Args:
            plain: content that was read.
            source: file of the content, for messages.
            further: other entries that the file may have, which are ignored.

        Raises:
            InputError: it is not from peclip or from a newer version; an entry is missing, unknown or wrong; or it names
                a class that is not an adapter, not prompts or not a temporal head.
        """
        plain = _in_format_2(plain, source)
        if unknown := plain.keys() - {*ENTRIES, *further}:
            raise InputError(f"{source}: unknown entry {min(map(str, unknown))!r}, expected {', '.join(ENTRIES)}")
        if (plain.get("texts") is None) == (plain.get("token_ids") is None):
            raise InputError(f"{source}: expected either texts or token_ids")
        config = from_json(cls, plain, source)
        rows = config.token_ids
        if rows is not None and len({*map(len, rows)}) != 1:
            raise InputError(f"{source}: token_ids is {shown(rows)}, expected rows of one length")
        if rows is not None and not all(0 <= token < 2**31 for row in rows for token in row):
            raise InputError(f"{source}: token_ids is {shown(rows)}, expected whole numbers from 0")
        for site, spec in config.adapters.items():
            _check_class(spec, Adapter, f"{source}: adapters {site}")
        if config.prompts:
            _check_class(config.prompts, Prompts, f"{source}: prompts")
        if config.temporal:
            _check_class(config.temporal, TemporalHead, f"{source}: temporal")
        if config.peft:
            try:
                method_of(config.peft)
            except InputError as error:
                raise InputError(f"{source}: {error}") from error
        return config


@dataclass(frozen=True)
class Trained:
    """A trained PE-CLIP as plain data.

    Attributes:
        config: configuration that rebuilds the model.
        state: the tensors of adapters and prompts by name, as ``PEClip.trainable_state`` returns them.
        source: file of the tensors, for messages.
        backbone: the CLIP itself, if the source contains one; else it is loaded by its name.
        record: record of the training; None if there is none.

    Raises:
        InputError: as :func:`peclip.model.weights.check_weights`.
    """

    config: ModelConfig
    state: Mapping[str, Tensor]
    source: str
    backbone: Backbone | None = None
    record: RunRecord | None = None

    def __post_init__(self) -> None:
        check_weights(self.state, self.source)


def _in_format_2(plain: Any, source: str) -> dict[str, Any]:
    """Return a configuration of any format as one of format 2.

    Raises:
        InputError: it is not from peclip, or of a later format.
    """
    if not isinstance(plain, dict) or not {"backbone", "labels", "adapters"} <= plain.keys():
        raise InputError(f"{source} is not peclip's: it does not name a backbone, labels and adapters")
    version = plain.get("format")
    if type(version) is not int or version < 1:
        raise InputError(
            f"{source} is not peclip's: its format is {shown(version)}, expected a number from 1 to {FORMAT}"
        )
    if version > FORMAT:
        raise InputError(
            f"{source} was written by a newer peclip (format {version}, this one reads up to {FORMAT}): update peclip"
        )
    if version == FORMAT:
        clips = plain.get("clip_format")
        if not isinstance(clips, dict) or clips.keys() | NEWER_FIELDS != {*CLIP_FIELDS}:
            raise InputError(f"{source}: clip_format is {shown(clips)}, expected {', '.join(CLIP_FIELDS)}")
        return plain
    clips, pixels = plain.get("input"), {"clip": (CLIP_MEAN, CLIP_STD), "none": (UNIT_MEAN, UNIT_STD)}
    if not isinstance(clips, dict) or str(clips.get("normalize")) not in pixels:
        raise InputError(f"{source}: input is {shown(clips)}, expected num_frames, image_size and normalize")
    mean, std = pixels[clips["normalize"]]
    known = {"num_frames": clips.get("num_frames"), "image_size": clips.get("image_size")}
    rest = {name: value for name, value in plain.items() if name != "input"}
    return rest | {"clip_format": known | {"mean": [*mean], "std": [*std]}}


def _check_class(spec: Spec, kind: type[nn.Module], where: str) -> None:
    try:
        check_import(spec.class_path, kind)
        resolve(spec, kind)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
