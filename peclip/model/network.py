"""Network: a frozen CLIP with adapters, prompts and a temporal head inside, and class texts: the passes through it.

Letters: B clips, T frames of a clip, L tokens, D width, C classes, P prompt tokens.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.arguments import check
from peclip.class_texts import texts_by_name, texts_of
from peclip.clip_format import ClipFormat
from peclip.errors import InputError, shown
from peclip.model.blocks import PLAIN, BlockExecution, Flow
from peclip.model.build import Built
from peclip.model.device import without_autocast
from peclip.model.fast.frozen import hold_in
from peclip.model.inject import Handle, LayerForward, attach, narrow, uses_one_token
from peclip.model.modules import check_returned, is_foreign, placed
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.in_place import each_layer
from peclip.model.parts.prompts import Prompts
from peclip.model.parts.temporal import TemporalHead
from peclip.model.tokens import TextCache, averaged, tokenize_texts

PART_CLASSES = (Adapter, Prompts, TemporalHead)
"""Base classes of the parts that may be of another package."""

AT_ONCE = 1024
"""Texts that are encoded at a time if no gradients are needed: a thousand classes may have a hundred texts each."""


class Network(nn.Module):
    """The computation of :class:`peclip.model.PEClip`: logits of clips, and features of clips and texts.

    Args:
        built: modules of the model.
        execution: execution of the blocks: compiled, or recomputed for the gradient.
    """

    token_ids: Tensor
    text_ends: Tensor

    def __init__(self, built: Built, execution: BlockExecution) -> None:
        super().__init__()
        self.backbone, self.clip, self.config = built.backbone, built.backbone.clip, built.config
        self.adapters, self.prompts = built.adapters, built.prompts
        self.temporal, self.peft, self.norms = built.temporal, built.peft, built.norms
        self.register_buffer("token_ids", built.token_ids, persistent=False)
        self.register_buffer("text_ends", built.ends, persistent=False)
        self._flows = {name: Flow() for name in self.backbone.towers}
        self._texts, self.logit_bias = TextCache(), built.backbone.logit_bias
        self._execution = replace(execution, draws=self.draws)
        self._of_clip = frozenset(name for name, _ in self.clip.named_parameters())
        in_text = {id(weight) for weight in self.backbone.text_weights()}
        self._peft_in_text = tuple(
            layer for name, layer in each_layer(self.peft) if id(self.clip.get_submodule(name).weight) in in_text
        )
        self._handles: list[Handle] = []
        self._is_bare = self._is_narrow = False
        self._mixes = {  # also without adapters, so that adapters that are the identity change no bit
            name: not uses_one_token(tower, placed(self.adapters, name)) for name, tower in self.backbone.towers.items()
        }
        self._attach()

    def _attach(self) -> None:
        replaced = (*each_layer(self.peft), *each_layer(self.norms))
        self._handles += [LayerForward(self.clip.get_submodule(name), layer.forward) for name, layer in replaced]
        for name, tower in self.backbone.towers.items():
            depth = self.prompts.depth_in(name) if self.prompts else 0
            self._handles += attach(tower, placed(self.adapters, name), depth, self._flows[name], self._execution)

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return list(self.config.labels)

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine similarities."""
        return self.config.logit_scale

    @property
    def temperature(self) -> float:
        """Divisor of the logits in :meth:`probabilities`; 1 if none was fitted."""
        return self.config.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.config = replace(self.config, temperature=value)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the calibrated probabilities (B, C) of logits (B, C) of :meth:`forward`."""
        check("logits", logits, Tensor)
        return (logits.float() / self.temperature).softmax(dim=-1)

    @property
    def clip_format(self) -> ClipFormat:
        """Frames, size and normalisation of the clips that the model was made for."""
        return self.config.clip_format

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square frames of :meth:`forward`."""
        return self.config.clip_format.image_size

    @property
    def draws(self) -> bool:
        """True if a pass in training mode may draw random numbers: with dropout, or a part of another package."""
        of_peft = self.config.peft.init_args if self.config.peft else {}  # LoHa's, for example, is not a module
        return any(name.endswith("dropout") and value for name, value in of_peft.items()) or any(
            module.p > 0
            if isinstance(module, nn.modules.dropout._DropoutNd)
            else isinstance(module, PART_CLASSES) and is_foreign(module)
            for module in self.modules()
        )

    @property
    def prompt_length(self) -> int:
        """P, the number of prompt tokens in a text; 0 without text prompts."""
        return self.prompts.length_in("text") if self.prompts else 0

    def forward(self, video: Tensor) -> Tensor:
        """Return the logits of clips.

        Args:
            video: normalised frames, float (B, T, 3, H, W); H and W are :attr:`image_size`. T may change from batch to
                batch.

        Returns:
            Logits (B, C) in the order of the labels, within plus or minus the logit scale, and shifted by the bias that
            SigLIP adds to all of them; in fp32 under autocast, too.

        Raises:
            ValueError: the video has another shape, no clip or no frame, or holds integers.
        """
        clips, texts = self.encode_video(video), self.encode_text()
        with without_autocast(clips.device):  # logits of two classes that are rounded to bf16 may be equal
            logits = self.logit_scale * clips @ texts.T
        return logits + self.logit_bias if self.logit_bias else logits

    def encode_video(self, video: Tensor) -> Tensor:
        """Return the L2-normalised features (B, D) of clips, float (B, T, 3, H, W); D is the projection's width.

        Raises:
            ValueError: the video has another shape, no clip or no frame, or holds integers.
        """
        side = self.image_size
        check("video", video, Tensor)
        if video.ndim != 5 or video.shape[2:] != (3, side, side) or not video.numel():
            expected = f"(B, T, 3, {side}, {side}) with B and T of at least 1"
            raise ValueError(f"video has shape {tuple(video.shape)}, expected {expected}")
        if not video.is_floating_point():
            raise ValueError(f"video is {video.dtype}, expected normalised frames as floating point")
        flow = self._flows["vision"]
        flow.frames = frames = video.shape[1]
        flow.prompts = self.prompts.vision() if self.prompts and not self._is_bare else ()
        try:
            whole = self._mixes["vision"] or flow.whole
            features = self.backbone.encode_frames(rearrange(video, "b t c h w -> (b t) c h w"), whole)
        finally:
            flow.prompts = ()  # they hold the graph of the pass, which is not to outlive it
        features = rearrange(features, "(b t) d -> b t d", t=frames)
        clips = features.mean(dim=1) if self._is_bare else self.temporal(features)
        check_returned("temporal", self.temporal, clips, features.shape[:1] + features.shape[2:])
        return _normalized(clips)

    def encode_text(self, texts: Sequence[str | Sequence[str]] | None = None) -> Tensor:
        """Return the L2-normalised features (C, D) of texts, in the space of :meth:`encode_video`.

        Adapters and prompts of the text tower act on any text. The features of the class texts are computed once where no
        gradient goes through them, and again only when a weight that they depend on has changed: in evaluation, and in training
        where all parts are in the vision tower. Torch does not count what is written through the ``.data`` of a part's weight: call
        :meth:`train` or :meth:`eval` after it. Nothing is kept of weights that were made in inference mode. The normalised features
        of several texts of a class are averaged, and normalised again.

        Args:
            texts: any C texts, or lists of several texts; by default the class texts.

        Raises:
            InputError: there is no text, one is empty, twice in a list, too long or not text, or the backbone has no tokenizer.
        """
        if texts is not None:
            return self._encode_texts(texts)
        if torch.is_grad_enabled() and not self._text_is_constant:
            self._texts.clear()  # a step may follow, and fused optimizers do not count up the weights' versions
            return self._encode_text()
        weights = [weight for part in self._text_parts for weight in part.parameters()]
        known = (self.token_ids, self.text_ends, *weights, *self.backbone.text_weights())
        return self._texts.get(self._is_bare, self.token_ids.device, known, self._encode_text)

    @property
    def _text_parts(self) -> list[nn.Module]:
        """Adapters, prompts and layers of PEFT that the features of texts depend on."""
        adapters = [self.adapters["text"]] if "text" in self.adapters else []
        prompts = [self.prompts] if self.prompts and self.prompt_length else []
        norms = [self.norms] if any(True for _ in self.norms.parameters()) else []  # norms of either tower
        return [*adapters, *prompts, *norms, *self._peft_in_text]

    @property
    def _text_is_constant(self) -> bool:
        """True if the texts' features neither learn nor draw random numbers: nothing is in the frozen text tower."""
        bare = self._is_bare or not self._text_parts
        return bare and not any(weight.requires_grad for weight in self.backbone.text_weights())

    def _encode_texts(self, texts: Sequence[str | Sequence[str]]) -> Tensor:
        is_list = isinstance(texts, Iterable) and not isinstance(texts, str | bytes | Mapping | set | frozenset)
        found = [*texts] if is_list else []
        if not found:
            raise InputError(f"texts is {shown(texts)}, expected one text or more in a list", "texts")
        known = texts_by_name({f"text {number}": each for number, each in enumerate(found)})
        several = [texts_of(each) for each in known.values()]
        named = [(name, text) for name, each in known.items() for text in texts_of(each)]
        ids, ends = tokenize_texts(self.backbone, named, self.prompt_length)
        features = self._encode_tokens(ids.to(self.token_ids.device), ends.to(self.token_ids.device))
        return averaged(features, [len(each) for each in several])

    def _encode_text(self) -> Tensor:
        return averaged(self._encode_tokens(self.token_ids, self.text_ends), self.config.texts_per_class)

    def _encode_tokens(self, ids: Tensor, ends: Tensor) -> Tensor:
        if len(ids) > AT_ONCE and not torch.is_grad_enabled():
            pieces = zip(ids.split(AT_ONCE), ends.split(AT_ONCE), strict=True)
            return torch.cat([self._encode_tokens(*piece) for piece in pieces])
        length = ids.shape[1]
        flow = self._flows["text"]
        flow.prompts = self.prompts.text() if self.prompts else ()
        if self.prompt_length and self._is_bare:  # a bare backbone knows no placeholders
            ids = self.backbone.layout.without_prompts(ids, self.prompt_length)
            ends = ends - (length - ids.shape[1])
        try:
            features = self.backbone.encode_tokens(ids, ends, self._mixes["text"])
        finally:
            flow.prompts = ()
        return _normalized(features)

    def hold_frozen_in(self, dtype: torch.dtype) -> None:
        """Convert the frozen matrices to the precision of the autocast to come: the same results, half the memory."""
        check("dtype", dtype, torch.dtype)
        hold_in(self.clip, dtype)
        self._texts.clear()

    def narrow_residual(self) -> None:
        """Pass tokens between the vision blocks in the precision of autocast: less memory and time, other rounding.

        Autocast alone keeps this residual stream in fp32. Without autocast nothing changes.
        """
        if not self._is_narrow:
            narrow(self.backbone.towers["vision"])
            self._is_narrow = True

    def run_plainly(self) -> None:
        """Neither compile blocks nor recompute them for the gradient."""
        with self.bare():
            self._execution = PLAIN

    @contextmanager
    def bare(self) -> Iterator[Self]:
        """Detach all trained parts within the context, in all threads: there this is zero-shot CLIP. Copies keep their parts."""
        if self._is_bare:
            yield self
            return
        for handle in self._handles:
            handle.remove()
        self._handles, self._is_bare = [], True
        try:
            yield self
        finally:
            self._is_bare = False
            self._attach()

    @contextmanager
    def all_tokens(self) -> Iterator[Self]:
        """Compute all vision tokens in this thread within the context, also those of the last block that no feature is read from."""
        flow = self._flows["vision"]
        before, flow.whole = flow.whole, True
        try:
            yield self
        finally:
            flow.whole = before

    def train(self, mode: bool = True) -> Self:
        """Set the mode of adapters and prompts; the frozen CLIP always stays in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        if self._text_parts:  # their weights may have changed in a way that torch does not count
            self._texts.clear()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of another model: a copy, or one that was pickled."""
        super().__setstate__(state)
        if self._is_bare:  # within :meth:`bare`, which ends for the other alone
            self._is_bare = False
            self._attach()


def logits_of(net: Network, video: Tensor) -> Tensor:
    """Return the logits (B, C) of clips, float32.

    Args:
        net: the model.
        video: normalised (B, T, 3, H, W), or with V views of each clip (B, V, T, 3, H, W). Of several, the logits are the logarithms
            of the mean probabilities, which is before calibration: so it changes no prediction. Views are computed one after the
            other, so that they take no more memory than one.
    """
    if video.ndim == 5:
        return net(video).float()
    each = torch.stack([net(view).float().log_softmax(dim=-1) for view in video.unbind(dim=1)])
    return each.logsumexp(dim=0) - math.log(len(each))


def _normalized(features: Tensor) -> Tensor:
    """Return features (N, D) scaled to a length of 1, in fp32 or more bits."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
