"""The model card of a package: what the model is, and the data, protocol and scores of its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from peclip.class_texts import Texts, texts_of
from peclip.clip_format import CLIP_MEAN, CLIP_STD, ClipFormat
from peclip.errors import counted, printable
from peclip.labels import are_expressions
from peclip.results.evaluation import Metrics, read_metrics
from peclip.results.formatting import Rows, markdown_table, scores_table
from peclip.results.options import SEED_OPTION, read_changes, read_options, section_of
from peclip.results.records import from_json
from peclip.results.selection import is_optimistic, selection_note

Plain = str | int | float | bool | None
"""A value that a table can show."""

LIMITS = """It recognizes which expression a face *shows*, as people labelled it in the clips it was trained on. That is not
what a person feels. Accuracy differs between classes (see the recalls), and between faces, cultures and recordings unlike those
of the training data. It is not meant for decisions about people."""

OTHER_LIMITS = """It recognizes the classes that people gave the clips it was trained on. Accuracy differs between classes (see the
recalls), and between recordings, places and people unlike those of the training data. It is not meant for decisions about people."""


@dataclass(frozen=True)
class RunRecord:
    """Facts about a training that packages carry.

    Attributes:
        data: source and protocol, by name.
        training: options of the training, by name.
        scores: scores of an evaluation; None if none is known.
    """

    data: dict[str, Plain]
    training: dict[str, Plain]
    scores: Metrics | None

    @classmethod
    def from_json(cls, content: Any, source: str) -> "RunRecord":
        """Build a record from the entry ``run`` of a package's config.json.

        Raises:
            InputError: it is not what peclip writes.
        """
        if isinstance(content, dict) and isinstance(content.get("scores"), dict):
            content = content | {"scores": Metrics.from_json(content["scores"], f"{source}: scores")}
        return from_json(cls, content, source)

    def as_json(self) -> dict[str, Any]:
        """Return the entry ``run`` of a package's config.json."""
        return {"data": self.data, "training": self.training, "scores": self.scores and self.scores.as_json()}


@dataclass(frozen=True)
class PackageFacts:
    """Content of the model card of a package.

    Attributes:
        backbone: Hub id, folder or ``demo``.
        labels: class names in the order of the logits.
        texts: class texts by label, one or several; empty if only their token ids are known.
        clip_format: format of the clips of the training.
        parameters: number of trained parameters.
        dtype: precision of the weights.
        size: size of the weights in bytes.
        method: name of the parts that were trained, such as "PE-CLIP".
        run: record of the training.
    """

    backbone: str
    labels: tuple[str, ...]
    texts: Mapping[str, Texts]
    clip_format: ClipFormat
    parameters: int
    dtype: str
    size: int
    method: str
    run: RunRecord | None = None


def read_run(run: Path) -> RunRecord | None:
    """Read what the folder of a run says about its training; None if it has no record.

    Args:
        run: folder of the run, with config.yaml, changes.yaml if it was resumed with other options, and, after an evaluation,
            metrics.json.

    Raises:
        InputError: a file is damaged.
    """
    settings, scores = read_options(run), read_metrics(run)
    if settings is None and scores is None:
        return None
    settings = settings or {}
    data, trainer, model = (section_of(settings, key) for key in ("data", "trainer", "model"))
    training = {
        **_pick(trainer, "max_epochs", "max_steps", "precision", "accumulate_grad_batches"),
        **_pick(data, "batch_size"),
        **{key: value for key, value in model.items() if key != "net" and isinstance(value, Plain)},
        "seed": settings.get(SEED_OPTION),
        **{
            f"{change.option} up to step {change.step}": change.before
            for change in read_changes(run)
            if change.option.startswith(("trainer.", "model.")) and isinstance(change.before, Plain)
        },
    }
    return RunRecord(data_record(data), training, scores)


def data_record(data: Mapping[str, Any]) -> dict[str, Plain]:
    """Return source and protocol of clips, by name, from the options of the data."""
    source = data.get("benchmark") or Path(str(data.get("manifest") or data.get("root") or "unknown")).name
    return {"source": str(source), **_pick(data, "fold", "val")}


def card(facts: PackageFacts) -> str:
    """Return the model card as markdown."""
    run = facts.run or RunRecord({}, {}, None)
    size_and_kind = f"{facts.parameters:,} parameters, {facts.dtype}, {facts.size / 1e6:.1f} MB"
    faces, use = (
        are_expressions(facts.labels),
        "```python\nfrom peclip import PEClip\n\nnet = PEClip.from_pretrained(FOLDER_OR_HUB_ID)\n```",
    )
    command = (
        "recognize VIDEO --model FOLDER_OR_HUB_ID"
        if faces
        else "predict --ckpt_path FOLDER_OR_HUB_ID --data.manifest CLIPS.csv"
    )
    sections = [
        _head(facts.backbone, facts.method, faces),
        f"# {facts.method} for {'dynamic facial expression recognition' if faces else 'video classification'}",
        f"What was trained ({size_and_kind}) for the frozen backbone `{facts.backbone}`.",
        f"A clip{' of a face' if faces else ''} goes in, one of {len(facts.labels)} {'expressions' if faces else 'classes'} comes out.",
        f"{use}\n\nor `peclip {command}`.",
        "## Input",
        _input(facts.clip_format),
        "## Classes",
        markdown_table(_classes(facts), numbers=False),
        "## Data and protocol",
        _table(run.data),
        *([_protocol(run.scores)] if run.scores else []),
        "## Scores",
        _scores(run.scores),
        "## Training",
        _table(run.training),
        "## Limits",
        LIMITS if faces else OTHER_LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _head(backbone: str, method: str, faces: bool) -> str:
    head: dict[str, Any] = {"library_name": "peclip", "pipeline_tag": "video-classification"}
    if "/" in backbone and not Path(backbone).is_absolute():
        head["base_model"] = backbone
    own = ["pe-clip"] if method.startswith("PE-CLIP") else []
    head["tags"] = [*(["facial-expression-recognition"] if faces else []), *own, "adapters"]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---"


def _input(clips: ClipFormat) -> str:
    if not clips.is_normalised:
        pixels = "pixels in [0, 1] as they are"
    elif (clips.mean, clips.std) == (CLIP_MEAN, CLIP_STD):
        pixels = "CLIP's mean and standard deviation"
    else:
        pixels = f"mean {clips.mean} and standard deviation {clips.std}"
    side = f"{clips.image_size} x {clips.image_size}"
    turned = ", faces turned so that the eyes are level" if clips.upright else ""
    return f"{counted(clips.num_frames, 'frame')} of a clip, the middle of as many equal segments; RGB, {side}, {pixels}{turned}."


def _classes(facts: PackageFacts) -> Rows:
    unknown = "as token ids in config.json"
    return ["class", "text"], [[label, "; ".join(texts_of(facts.texts.get(label, unknown)))] for label in facts.labels]


def _table(values: Mapping[str, Plain]) -> str:
    rows = [[name, str(value)] for name, value in values.items() if value is not None]
    return markdown_table((["", ""], rows), numbers=False) if rows else "Not known."


def _protocol(scores: Metrics) -> str:
    note = selection_note(scores.selection, scores.split)
    return f"**{note}**" if is_optimistic(scores.selection, scores.split) else note


def _scores(scores: Metrics | None) -> str:
    if scores is None:
        return "Not measured."
    remarks = "".join(f"; {printable(remark)}" for remark in scores.remarks)
    calibration = f"\n\n{scores.calibration}." if scores.calibration else ""
    return f"On {counted(scores.scores.clips, f'{scores.split} clip')}{remarks}:\n\n{markdown_table(scores_table(scores))}{calibration}"


def _pick(table: Mapping[str, Any], *keys: str) -> dict[str, Plain]:
    return {key: table[key] for key in keys if isinstance(table.get(key), Plain) and table.get(key) not in (None, -1)}
