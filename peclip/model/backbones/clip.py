"""CLIP of any size as a backbone."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import CLIPModel

from peclip.clip_format import CLIP_MEAN, CLIP_STD
from peclip.model.backbones.contract import Backbone, TextLayout

DEFAULT_BACKBONE = "openai/clip-vit-base-patch16"
"""Hub id of the CLIP of the paper, which is used unless another backbone is named."""


class CLIP(Backbone):
    """Hugging Face's ``CLIPModel``: features are those of the class token and of the end of a text, projected."""

    family = "CLIP"
    usual_pixels = (CLIP_MEAN, CLIP_STD)
    model_class: ClassVar[type[Any]] = CLIPModel

    @property
    def layout(self) -> TextLayout:
        """One start token; the end token is the largest one."""
        return TextLayout(starts=1, end=None)

    def encode_frames(self, frames: Tensor, whole: bool = False) -> Tensor:
        """Return the projected class-token features (N, D) of normalised frames, float (N, 3, H, W)."""
        at = None if whole else 0
        return self.clip.visual_projection(self.clip.vision_model(pixel_values=frames, at=at).pooler_output)

    def encode_tokens(self, token_ids: Tensor, ends: Tensor, whole: bool = False) -> Tensor:
        """Return the projected end-of-text features (N, D) of token ids (N, L) whose texts end at ``ends`` (N,)."""
        hidden = self.clip.text_model(input_ids=token_ids, at=None if whole else ends).last_hidden_state
        return self.clip.text_projection(hidden[torch.arange(len(token_ids), device=token_ids.device), ends])

    def text_weights(self) -> Iterator[nn.Parameter]:
        """Yield the weights that :meth:`encode_tokens` depends on."""
        yield from self.clip.text_model.parameters()
        yield from self.clip.text_projection.parameters()

    def telling_weights(self) -> Iterable[Tensor]:
        """Return projections, class token, positions and the last MLPs."""
        vision, text = self.clip.vision_model, self.clip.text_model
        return [
            self.clip.visual_projection.weight,
            self.clip.text_projection.weight,
            vision.embeddings.class_embedding,
            vision.embeddings.position_embedding.weight,
            text.embeddings.position_embedding.weight,
            *(weight for tower in (vision, text) for weight in tower.encoder.layers[-1].mlp.fc2.parameters()),
        ]
