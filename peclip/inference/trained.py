"""Load the model of a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from peclip.class_texts import PLACEHOLDER, TextStyle, texts_by_name, texts_of
from peclip.configuration import read_yaml
from peclip.errors import InputError, shown
from peclip.labels import SEVEN, divided
from peclip.model import PEClip, read_trained
from peclip.model.backbones.clip import DEFAULT_BACKBONE
from peclip.model.device import keep_freed_memory
from peclip.model.io.spec import trusting

ZERO_SHOT = "zero-shot"
"""Name of CLIP without training, as a value of the option model."""


def load_model(
    model: str,
    backbone: str | None = None,
    labels: Sequence[str] | None = None,
    texts: str | None = None,
    trust: bool = False,
) -> PEClip:
    """Load the model that an option names, and let the process keep the memory that one answer frees for the next.

    Args:
        model: the folder of a run, a ``.ckpt``, a package or its Hub id, a released ``.pth``, or :data:`ZERO_SHOT`.
        backbone: Hub id or folder of the CLIP, if it has moved since the training.
        labels: classes of zero-shot; an entry may hold several, separated by commas.
        texts: YAML file with the class texts of zero-shot.
        trust: import classes of other packages that the model names.

    Raises:
        InputError: the model cannot be loaded, or has labels and texts of its own.
    """
    keep_freed_memory()
    if model == ZERO_SHOT:
        return zero_shot(None if labels is None else divided(labels), texts, backbone)
    if model.replace("_", "-").lower() == ZERO_SHOT and not Path(model).exists():
        raise InputError(f"model is {model}: CLIP without training is called {ZERO_SHOT}", "model")
    if labels is not None or texts is not None:
        given = "texts" if labels is None else "labels"
        raise InputError(f"{given} is for --model {ZERO_SHOT}: {model} has its own", given)
    with trusting(everything=trust):
        return PEClip.from_trained(read_trained(model), backbone)


def zero_shot(
    labels: Sequence[str] | None = None, texts: str | Path | None = None, backbone: str | None = None
) -> PEClip:
    """Build CLIP without adapters and prompts.

    Args:
        labels: classes; by default the labels of the texts, or the seven basic expressions.
        texts: YAML file with a text, or a list of texts, by label; or names, sentences or a template such as ``a video of {label}``; by
            default the action units of the classes.
        backbone: Hub id or folder of a CLIP; by default OpenAI's ViT-B/16.

    Raises:
        InputError: the backbone cannot be loaded, the file is no mapping of texts, a class has no text, or there is only one.
    """
    style = texts if isinstance(texts, str) and (texts in get_args(TextStyle) or PLACEHOLDER in texts) else None
    by_label = None if style or texts is None else texts_by_name(_read_texts(Path(texts)))
    names = labels if labels is not None else SEVEN if by_label is None else list(by_label)
    if len(names) < 2:  # its probability would always be 1
        raise InputError(
            f"labels is {shown(', '.join(names))}: an answer needs two classes or more to choose from", "labels"
        )
    given: dict[str, str | list[str]] = {name: [*texts_of(each)] for name, each in (by_label or {}).items()}
    return PEClip(
        names, backbone or DEFAULT_BACKBONE, adapters={}, prompts=None, texts=given or style or "action_units"
    )


def _read_texts(path: Path) -> dict[str, str | list[str]]:
    content = read_yaml(path, "a YAML file with a text by label")
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a text, or a list of texts, for each label, such as 'fear: eyes are wide'", "texts"
        )
    return content
