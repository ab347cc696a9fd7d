"""The contract of backbones: what the rest of the model knows of a frozen vision-language model."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from einops import repeat
from torch import Tensor, nn

from peclip.model.parts.adapters import Grid, Place

PARTS = {"attention": "self_attn", "mlp": "mlp"}
"""Names of a block's sub-layers, by part of a site."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Names of the layers of an attention that compute query, key and value."""

Pixels = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of pixels in [0, 1], by channel (RGB)."""


@dataclass(frozen=True)
class Tower:
    """One tower of a backbone, as injection sees it.

    Attributes:
        name: ``vision`` or ``text``.
        width: D, of its tokens.
        module: the whole tower.
        blocks: transformer blocks of the tower.
        entrance: the module whose output (N, L, D) the prompts of depth 0 join: before the position embedding of the
            text tower, after that of the vision tower and before its first norm.
        prompts_at: position of the first prompt in a text, after the start token if there is one; None if prompts follow
            the other tokens, as in the vision tower.
        grid: the patches among its tokens; None in the text tower.
    """

    name: str
    width: int
    module: nn.Module
    blocks: Sequence[nn.Module]
    entrance: nn.Module
    prompts_at: int | None
    grid: Grid | None = None

    def part(self, name: str, block: int) -> nn.Module:
        """Return the ``attention`` or ``mlp`` module of a block."""
        module = getattr(self.blocks[block], PARTS[name])
        assert isinstance(module, nn.Module)
        return module

    def attention_input(self, block: int) -> tuple[nn.Module, list[nn.Module]]:
        """Return the norm before the attention of a block, and the layers that compute query, key and value from its output."""
        layers = [layer for name, layer in self.part("attention", block).named_children() if name in PROJECTIONS]
        norm: Any = self.blocks[block].layer_norm1
        return norm, layers

    def place(self, block: int) -> Place:
        """Return the surroundings of the adapters of a block."""
        return Place(self.grid, partial(_attend, self.blocks[block]))


@dataclass(frozen=True)
class TextLayout:
    """The places of the tokens of a text.

    Attributes:
        starts: start tokens before the text, and before its prompts: 1 or 0.
        end: id of the token that ends a text; None for the largest id of the text.
        fill: id that fills each text up to the whole context, if the text tower is not causal and reads its feature at
            the last position; None if it is causal, so that tokens after the end of a text change nothing.
        fill_first: whether these tokens come before the text.
    """

    starts: int
    end: int | None
    fill: int | None = None
    fill_first: bool = False

    def ends(self, token_ids: Tensor) -> Tensor:
        """Return the position (N,) of the token of each text (N, L) at which its feature is read."""
        if self.fill is not None:
            return torch.full((len(token_ids),), token_ids.shape[1] - 1, device=token_ids.device)
        return token_ids.argmax(dim=1) if self.end is None else (token_ids == self.end).int().argmax(dim=1)

    def filled(self, token_ids: Tensor, length: int, prompts: int = 0) -> Tensor:
        """Return texts (N, L) of the whole context, (N, length).

        Args:
            token_ids: token ids (N, L) of texts that need to be filled up.
            length: tokens of the whole context.
            prompts: P, the placeholders at the start of each text, which stay there.
        """
        assert self.fill is not None
        more = repeat(torch.tensor(self.fill).to(token_ids), "-> n m", n=len(token_ids), m=length - token_ids.shape[1])
        first = token_ids[:, :prompts]
        rest = token_ids[:, prompts:]
        return torch.cat([first, more, rest] if self.fill_first else [first, rest, more], dim=1)

    def without_prompts(self, token_ids: Tensor, prompts: int) -> Tensor:
        """Return texts (N, L) without the P placeholders of their prompts; those of the whole context keep their length."""
        bare = torch.cat([token_ids[:, : self.starts], token_ids[:, self.starts + prompts :]], dim=1)
        return bare if self.fill is None else self.filled(bare, token_ids.shape[1])

    def words(self, token_ids: Tensor, prompts: int) -> list[list[int]]:
        """Return the tokens of each text (N, L) with its end, without start token, placeholders and padding."""
        rows = []
        for row in token_ids[:, self.starts + prompts :].tolist():
            if self.fill_first:
                row = row[next((place for place, token in enumerate(row) if token != self.fill), 0) :]
            end = max(row) if self.end is None else self.end
            rows.append(row[: row.index(end) + 1] if end in row else row)
        return rows


@dataclass(frozen=True)
class Backbone(ABC):
    """A frozen model with a vision and a text tower, and its tokenizer; each family is a subclass.

    The towers of all families have Hugging Face's names: ``vision_model`` and ``text_model`` with ``embeddings`` and
    ``encoder.layers``.

    Attributes:
        name: Hub id, folder, file or ``demo``.
        clip: the model.
        tokenizer: tokenizer of its texts; None if token ids are ready-made.
        pixels: mean and standard deviation of the pixels that it was trained on; None for those of its family.
    """

    family: ClassVar[str]
    """Name of the family in messages."""
    usual_pixels: ClassVar[Pixels]
    """Mean and standard deviation of the released models of the family."""
    model_class: ClassVar[type[Any]]
    """Class of its models in transformers."""
    first_patch: ClassVar[int] = 1
    """Position of the first patch among the tokens of a frame: after the class token, if there is one."""

    name: str
    clip: Any
    tokenizer: Any = None
    pixels: Pixels | None = None

    @property
    @abstractmethod
    def layout(self) -> TextLayout:
        """The places of the tokens of a text."""

    @abstractmethod
    def encode_frames(self, frames: Tensor, whole: bool = False) -> Tensor:
        """Return the features (N, D) of normalised frames, float (N, 3, H, W), in the space shared with texts.

        Args:
            frames: normalised frames, float (N, 3, H, W).
            whole: whether the last block must compute all tokens; else a family may omit those that are not used.
        """

    @abstractmethod
    def encode_tokens(self, token_ids: Tensor, ends: Tensor, whole: bool = False) -> Tensor:
        """Return the features (N, D) of token ids (N, L) whose texts are read at ``ends`` (N,), in the shared space.

        Args:
            token_ids: token ids, int64 (N, L).
            ends: position in each text at which its feature is read, (N,).
            whole: whether all tokens are computed, as for :meth:`encode_frames`.
        """

    @abstractmethod
    def text_weights(self) -> Iterator[nn.Parameter]:
        """Yield the weights that :meth:`encode_tokens` depends on."""

    @abstractmethod
    def telling_weights(self) -> Iterable[Tensor]:
        """Return some weights that distinguish models of one family and size, for the fingerprint."""

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine similarities that the model was trained with."""
        return float(self.clip.logit_scale.detach().exp())

    @property
    def logit_bias(self) -> float:
        """Number that the model was trained to add to each logit; 0 without one. It is the same for all classes."""
        return 0.0

    @property
    def pooling(self) -> nn.MultiheadAttention | None:
        """Attention that reads the feature of a frame from its tokens; None if it is read from the class token, the first."""
        return None

    @cached_property
    def towers(self) -> dict[str, Tower]:
        """The vision and the text tower by name."""
        vision, text = self.clip.vision_model, self.clip.text_model
        entrance, starts = text.embeddings.token_embedding, self.layout.starts
        return {
            "vision": Tower(
                "vision", vision.config.hidden_size, vision, vision.encoder.layers, vision.embeddings, None, self._grid
            ),
            "text": Tower("text", text.config.hidden_size, text, text.encoder.layers, entrance, starts),
        }

    @property
    def _grid(self) -> Grid:
        side = self.image_size // int(self.clip.vision_model.config.patch_size)
        return Grid(self.first_patch, side, side)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of some weights that distinguishes models; empty without weights.

        It is the same for copies in fp32 and fp16, and must be taken before weights move to a lower precision.
        """
        weights = list(self.telling_weights())
        if any(weight.is_meta for weight in weights):
            return ""
        digest = hashlib.sha256()
        for weight in weights:
            digest.update(weight.detach().to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the pixels that it was trained on, by channel (RGB)."""
        return (self.pixels or self.usual_pixels)[0]

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of these pixels."""
        return (self.pixels or self.usual_pixels)[1]

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square frames of the vision tower."""
        return int(self.clip.vision_model.config.image_size)

    @property
    def feature_width(self) -> int:
        """D, the width of the features of frames and texts."""
        return int(self.clip.config.projection_dim)

    @property
    def context(self) -> int:
        """Largest number of tokens of a text."""
        return int(self.clip.text_model.config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return int(self.clip.text_model.config.vocab_size)

    def prepared(self, text: str) -> str:
        """Return a text as the tokenizer expects it."""
        return text


def _attend(block: Any, tokens: Tensor) -> Tensor:
    """Run the frozen self-attention of a block and the norm before it, without a mask and without the adapters there."""
    attended: Tensor = block.self_attn.forward(hidden_states=block.layer_norm1(tokens), attention_mask=None)[0]
    return attended
