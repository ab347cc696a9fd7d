"""Build PE-CLIP in the released sizes of CLIP with random weights, so that a measurement needs no download."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from peclip.errors import InputError
from peclip.model import PEClip
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.freeze import freeze
from peclip.model.backbones.load import load_backbone

TEXT_TOKENS = 32
"""Number of tokens of the longest class text, about that of the longest action-unit text of the seven expressions."""


@dataclass(frozen=True)
class Size:
    """Measures of a CLIP; the MLPs of both towers are four times as wide.

    Attributes:
        patch: side of a patch in pixels.
        image: side of a frame in pixels, by default.
        vision: width, blocks and heads of the vision tower.
        text: width, blocks and heads of the text tower; its width is that of the projection as well.
    """

    patch: int
    image: int
    vision: tuple[int, int, int]
    text: tuple[int, int, int]


SIZES = {
    "vit-b/16": Size(16, 224, (768, 12, 12), (512, 12, 8)),
    "vit-b/32": Size(32, 224, (768, 12, 12), (512, 12, 8)),
    "vit-l/14": Size(14, 224, (1024, 24, 16), (768, 12, 12)),
    "vit-h/14": Size(14, 224, (1280, 32, 16), (1024, 24, 16)),  # a billion parameters
    "tiny": Size(16, 32, (32, 2, 2), (32, 2, 2)),  # to try a measurement out in seconds
}

BACKBONE = "vit-b/16"
"""Size that is measured by default."""


def random_config(name: str, image_size: int | None = None) -> CLIPConfig:
    """Return the configuration of a CLIP of one of the :data:`SIZES`.

    Args:
        name: name of the size.
        image_size: side of the frames in pixels; by default that of the size.

    Raises:
        InputError: a frame is smaller than a patch.
    """
    size = SIZES[name]
    image = size.image if image_size is None else image_size
    if image < size.patch:
        raise InputError(f"image_size is {image}, expected at least {size.patch}, the patch of {name}")
    return CLIPConfig(
        vision_config={**_tower(*size.vision), "image_size": image, "patch_size": size.patch},
        text_config=_tower(*size.text),
        projection_dim=size.text[0],
    )


def backbone_of(name: str, image_size: int | None = None) -> Backbone:
    """Return a frozen CLIP: one of the :data:`SIZES` with random weights, or one that is loaded.

    Args:
        name: name of a size; or a Hub id or folder.
        image_size: side of the frames in pixels; by default that of the size or of the CLIP.

    Raises:
        InputError: there is no such CLIP, or its frames have another size.
    """
    if name in SIZES:
        return CLIP(name, freeze(CLIPModel(random_config(name, image_size))))
    try:
        backbone = load_backbone(name)
    except InputError as error:
        raise InputError(f"{error}; or choose one of {', '.join(SIZES)}, which have random weights") from error
    if image_size not in (None, backbone.image_size):
        raise InputError(
            f"backbone {name!r} has frames of {backbone.image_size} pixels, but image_size is {image_size}"
        )
    return backbone


def random_tokens(backbone: Backbone, classes: int, prompt_length: int) -> Tensor:
    """Return token ids (C, N) of class texts of different lengths, the longest of :data:`TEXT_TOKENS` tokens."""
    vocabulary = backbone.vocabulary
    if backbone.layout.fill is not None:  # texts of the whole context
        return torch.randint(vocabulary, (classes, backbone.context))
    longest = min(TEXT_TOKENS, backbone.context)
    ids = torch.randint(vocabulary - 2, (classes, longest))
    ends = torch.randint(prompt_length + 2, longest, (classes,))
    ends[0] = longest - 1
    ids[:, 0] = vocabulary - 2  # the start token; the end, the largest id, also fills up
    return torch.where(torch.arange(longest) < ends[:, None], ids, vocabulary - 1)


def model_of(
    backbone: Backbone,
    classes: int,
    num_frames: int = 16,
    compile: bool = False,
    checkpointing: bool = False,
    activation_memory_budget: float = 1.0,
) -> PEClip:
    """Build a PE-CLIP with the default adapters and prompts.

    Args:
        backbone: the CLIP.
        classes: number C of classes.
        num_frames: number T of frames of a clip.
        compile: argument of :class:`PEClip`.
        checkpointing: argument of :class:`PEClip`.
        activation_memory_budget: argument of :class:`PEClip`.
    """
    ids = random_tokens(backbone, classes, 2)
    labels = [f"class {number}" for number in range(classes)]
    return PEClip.assemble(
        backbone,
        ids,
        labels,
        compile=compile,
        checkpointing=checkpointing,
        activation_memory_budget=activation_memory_budget,
        num_frames=num_frames,
    )


def _tower(width: int, blocks: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
    }
