"""SigLIP and SigLIP 2 of a fixed image size as backbones."""

from collections.abc import Iterable, Iterator
from math import isqrt
from typing import Any

from einops import rearrange
from torch import Tensor, nn
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

from peclip.model.backbones.contract import Backbone, TextLayout
from peclip.model.backbones.freeze import with_weights, without_weights


class SigLIP(Backbone):
    """Hugging Face's ``SiglipModel``.

    A head attends to all vision tokens, prompts included. The text tower is not causal: each text is filled up to the whole
    context, and its feature is read at the last position. There is no start token.
    """

    family = "SigLIP"
    usual_pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model_class = SiglipModel
    first_patch = 0

    @property
    def layout(self) -> TextLayout:
        """No start token; padding as the tokenizer does it, with its token."""
        if self.tokenizer is None:
            return TextLayout(starts=0, end=None, fill=self.clip.text_model.config.pad_token_id or 0)
        left = getattr(self.tokenizer, "padding_side", "right") == "left"
        return TextLayout(0, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, left)

    @property
    def feature_width(self) -> int:
        """D, the width of the vision tower, for its head projects to no other."""
        return int(self.clip.vision_model.config.hidden_size)

    @property
    def logit_bias(self) -> float:
        """Number that is added to each logit, so that its sigmoid is the probability that frame and text belong together."""
        bias = self.clip.logit_bias.detach()
        return 0.0 if bias.is_meta else float(bias)

    @property
    def pooling(self) -> nn.MultiheadAttention:
        """Attention of the head, which reads the feature of a frame from all its tokens."""
        return self.clip.vision_model.head.attention

    def encode_frames(self, frames: Tensor, whole: bool = False) -> Tensor:
        """Return the features (N, D) of normalised frames, float (N, 3, H, W), pooled by the head over all tokens."""
        return self.clip.vision_model(pixel_values=frames).pooler_output

    def encode_tokens(self, token_ids: Tensor, ends: Tensor, whole: bool = False) -> Tensor:
        """Return the features (N, D) of token ids (N, context), read at the last position."""
        return self.clip.text_model(input_ids=token_ids).pooler_output

    def text_weights(self) -> Iterator[nn.Parameter]:
        """Yield the weights that :meth:`encode_tokens` depends on."""
        yield from self.clip.text_model.parameters()

    def telling_weights(self) -> Iterable[Tensor]:
        """Return heads, positions, logit scale and bias, and the last MLPs."""
        vision, text = self.clip.vision_model, self.clip.text_model
        return [
            vision.head.probe,
            text.head.weight,
            vision.embeddings.position_embedding.weight,
            text.embeddings.position_embedding.weight,
            self.clip.logit_scale,
            self.clip.logit_bias,
            *(weight for tower in (vision, text) for weight in tower.encoder.layers[-1].mlp.fc2.parameters()),
        ]

    def prepared(self, text: str) -> str:
        """Return a text in lower case if the tokenizer is Gemma's, which keeps capitals that SigLIP 2 was not trained on."""
        return text.lower() if type(self.tokenizer).__name__.startswith("Gemma") else text


def check_config(config: Any) -> None:
    """Check that a SigLIP has what peclip needs of it.

    Args:
        config: a ``SiglipConfig`` or ``Siglip2Config``.

    Raises:
        ValueError: it has no pooling head, texts and frames have features of different widths, or its patches make no square.
    """
    vision, text = config.vision_config, config.text_config
    if not getattr(vision, "vision_use_head", True):  # transformers before 5.23 states it only if it is false
        raise ValueError("its vision tower has no pooling head (vision_use_head is false)")
    if text.projection_size != vision.hidden_size:
        raise ValueError(
            f"its texts have features of width {text.projection_size}, its frames of {vision.hidden_size}, expected the same"
        )
    if isinstance(config, Siglip2Config) and isqrt(vision.num_patches) ** 2 != vision.num_patches:
        raise ValueError(f"num_patches is {vision.num_patches}, expected those of a square frame")


def fixed_size(model: Siglip2Model) -> SiglipModel:
    """Return a SigLIP 2 for frames of any aspect ratio (NaFlex) as the SigLIP of the square frames of its positions.

    That is the same function of these frames: positions need not be interpolated, and nothing is padded.
    """
    vision: Any = model.config.vision_config
    side = isqrt(vision.num_patches) * vision.patch_size
    config = SiglipConfig(
        vision_config=_shared(vision) | {"image_size": side, "patch_size": vision.patch_size},
        text_config=_shared(model.config.text_config),
    )
    fixed = without_weights(SiglipModel, config)
    fixed.vision_model.embeddings.patch_embedding = Patches(vision.patch_size, vision.hidden_size)
    return with_weights(fixed, model.state_dict().__getitem__)


class Patches(nn.Linear):
    """The patch embedding of SigLIP 2 for frames: a linear layer on the pixels of each patch.

    Args:
        side: side of a patch in pixels.
        width: D, width of the tokens.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__(3 * side**2, width, device="meta")
        self.side = side

    def forward(self, frames: Tensor) -> Tensor:
        """Return the tokens (N, D, rows, columns) of frames (N, 3, H, W), as a convolution would."""
        patches = rearrange(frames, "n c (h p) (w q) -> n h w (p q c)", p=self.side, q=self.side)
        return rearrange(super().forward(patches), "n h w d -> n d h w")


def _shared(tower: Any) -> dict[str, Any]:
    """Return the settings that a tower has in both versions."""
    other = ("model_type", "num_patches", "patch_size", "transformers_version", "architectures", "dtype")
    return {name: value for name, value in tower.to_dict().items() if name not in other and not name.startswith("_")}
