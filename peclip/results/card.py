"""The model card of a package: what the model is, and the data, protocol and scores of its training."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from peclip.errors import InputError
from peclip.model.io.trained import Config

Record = dict[str, Any]
"""What is known of a training: ``data`` and ``training``, plain values by name, and ``scores`` as in metrics.json."""

SELECTION = {
    "validation": "The checkpoint was chosen on validation clips; the test clips were read once, at the end.",
    "test": "**The checkpoint was chosen on the clips that it was tested on (`val: test`): the scores are optimistic.**",
    "none": "There were no validation clips: the last checkpoint was kept.",
}

LIMITS = """It tells which expression a face *shows*, as people labelled it in the clips it was trained on. That is not what a
person feels. Accuracy differs between classes (see the recalls), and between faces, cultures and recordings unlike those
of the training data. It is not meant for decisions about people."""


def record(run: Path) -> Record | None:
    """Return what the folder of a run tells of the training; None where it tells nothing.

    Args:
        run: folder of the run, with config.yaml and, after an evaluation, metrics.json.

    Raises:
        InputError: one of the two is torn.
    """
    settings, scores = _load(run / "config.yaml", yaml.safe_load), _load(run / "metrics.json", json.loads)
    if settings is None and scores is None:
        return None
    settings = settings or {}
    data, trainer, model = (settings.get(key) or {} for key in ("data", "trainer", "model"))
    source = data.get("benchmark") or Path(str(data.get("manifest") or data.get("root") or "unknown")).name
    known = {
        "data": {"source": source} | _pick(data, "fold", "val"),
        "training": _pick(trainer, "max_epochs", "max_steps", "precision", "accumulate_grad_batches")
        | _pick(data, "batch_size")
        | {key: value for key, value in model.items() if key != "net" and _plain(value)}
        | {"seed": settings.get("seed_everything")},
        "scores": scores,
    }
    if not is_record(known):
        raise InputError(f"{run}: metrics.json or config.yaml is not what peclip writes")
    return known


def is_record(value: Any) -> bool:
    """Return whether a value from outside is a :data:`Record`, or None."""
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() != {"data", "training", "scores"}:
        return False
    tables = (value["data"], value["training"])
    return all(isinstance(table, dict) and all(map(_plain, table.values())) for table in tables) and (
        value["scores"] is None or _is_scores(value["scores"])
    )


def card(config: Config, parameters: int, size: int) -> str:
    """Return the model card as markdown.

    Args:
        config: of the package.
        parameters: number of trained parameters.
        size: bytes of the weights.
    """
    known = config["run"] or {"data": {}, "training": {}, "scores": None}
    clips = config["input"]
    pixels = "CLIP's mean and standard deviation" if clips["normalize"] == "clip" else "pixels in [0, 1] as they are"
    size_and_kind = f"{parameters:,} parameters, {config['dtype']}, {size / 1e6:.1f} MB"
    use = "```python\nfrom peclip import PEClip\n\nnet = PEClip.from_pretrained(FOLDER_OR_HUB_ID)\n```"
    side = clips["image_size"]
    parts = [
        _head(config),
        "# PE-CLIP for dynamic facial expression recognition",
        f"Adapters and prompts ({size_and_kind}) for the frozen CLIP `{config['backbone']}`.",
        f"A clip of a face goes in, one of {len(config['labels'])} expressions comes out.",
        f"{use}\n\nor `peclip recognize VIDEO --model FOLDER_OR_HUB_ID`.",
        "## Input",
        f"{clips['num_frames']} frames of a clip, the middle of as many equal segments; RGB, {side} x {side}, {pixels}.",
        "## Classes",
        _classes(config),
        "## Data and protocol",
        _table(known["data"]),
        *([SELECTION[known["scores"]["selection"]]] if known["scores"] else []),
        "## Scores",
        _scores(known["scores"]),
        "## Training",
        _table(known["training"]),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _head(config: Config) -> str:
    head: dict[str, Any] = {"library_name": "peclip", "pipeline_tag": "video-classification"}
    if "/" in config["backbone"] and not Path(config["backbone"]).is_absolute():
        head["base_model"] = config["backbone"]
    head["tags"] = ["facial-expression-recognition", "pe-clip", "adapters"]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---"


def _classes(config: Config) -> str:
    texts = config.get("texts", {})
    rows = [f"| {label} | {_cell(texts.get(label, 'as token ids in config.json'))} |" for label in config["labels"]]
    return "\n".join(["| class | text |", "|---|---|", *rows])


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {_cell(value)} |" for name, value in values.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else "Not known."


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _scores(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "Not measured."
    columns = {"PE-CLIP": scores} | ({"zero-shot CLIP": scores["zero_shot"]} if scores.get("zero_shot") else {})
    rows = [
        f"On {scores['clips']} {scores['split']} clips:\n",
        f"| | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(f"| {name.upper()} | {_percent(columns, name)} |" for name in ("war", "uar")),
    ]
    recalls = {name: column["per_class_recall"] for name, column in columns.items()}
    return "\n".join(rows + [f"| recall {label} | {_percent(recalls, label)} |" for label in recalls["PE-CLIP"]])


def _percent(columns: Mapping[str, Mapping[str, float | None]], name: str) -> str:
    values = (column.get(name) for column in columns.values())
    return " | ".join("no clip" if value is None else f"{value:.2%}" for value in values)


def _load(path: Path, parse: Callable[[str], Any]) -> Record | None:
    if not path.is_file():
        return None
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is torn: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is torn: it holds no names with values")
    return found


def _pick(table: Mapping[str, Any], *keys: str) -> Record:
    return {key: table[key] for key in keys if _plain(table.get(key)) and table.get(key) not in (None, -1)}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_scores(value: Any, nested: bool = False) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("clips"), int):
        return False
    rates = value.get("per_class_recall")
    if not isinstance(rates, dict) or not all(_is_rate(value.get(key)) for key in ("war", "uar")):
        return False
    if not all(rate is None or _is_rate(rate) for rate in rates.values()):
        return False
    if nested:
        return True
    zero_shot = value.get("zero_shot")
    return (
        value.get("selection") in SELECTION
        and isinstance(value.get("split"), str)
        and (zero_shot is None or _is_scores(zero_shot, nested=True))
    )


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
