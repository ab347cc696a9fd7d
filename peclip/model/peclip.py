"""PEClip: a frozen CLIP with adapters and prompts inside, and class texts. No Lightning here.

Letters: B clips, T frames of a clip, L tokens, D width, C classes, P prompt tokens.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError
from peclip.labels import TextStyle, class_texts
from peclip.model.backbones.clip import Backbone, expand_site, load_backbone
from peclip.model.fast.frozen import hold_in
from peclip.model.inject import Flow, Handle, Run, attach
from peclip.model.io.spec import describe
from peclip.model.parts.adapters import Adapter
from peclip.model.parts.prompts import MaPLe
from peclip.model.tokens import check_tokens, tokenize

AdapterFactory = Callable[[int], Adapter]
PromptFactory = Callable[[int, int], MaPLe]


@final
class PEClip(nn.Module):
    """PE-CLIP: clips of a face in, a logit per expression out.

    ``logits = logit_scale * video @ text.T``: the clip feature is the mean over the T frames of the projected class
    token, the text feature the projected end-of-text token of each class text, both L2-normalised. CLIP stays frozen;
    ``adapters`` and ``prompts`` own every trainable parameter. With neither, it is zero-shot CLIP.

    Args:
        labels: class names; their order is the order of the logits. The command line takes them from the data.
        backbone: a Hub id such as ``openai/clip-vit-base-patch16``, a folder that holds a CLIP, or ``demo``.
        adapters: adapter class by site: ``vision.attention``, ``vision.mlp``, ``text.attention`` or ``text.mlp``, or a
            part of the blocks, as in ``vision.mlp[6:12]``. One adapter is made per block, with the width of its tower.
        prompts: the prompt class, such as ``peclip.model.MaPLe``; null for none.
        texts: ``action_units`` (FACS descriptions), ``names``, ``sentences``, or the texts themselves by label.
        logit_scale: what cosine similarities are multiplied by; above 0.
        compile: whether torch.compile fuses what each block does: the first step then takes about a minute.
        checkpointing: whether blocks keep nothing for the gradient but what goes in, and compute the rest again: less
            memory, more time.
        num_frames: T, frames of the clips that the model is made for.
        normalize: backbone normalises pixels as the backbone was trained; none leaves them in [0, 1].

    Raises:
        InputError: an unknown site, two adapters at one place, prompts deeper than a tower, a label without a text, a
            text that is too long, or a backbone that is not there.
    """

    token_ids: Tensor
    text_ends: Tensor
    clip_format: ClipFormat

    def __init__(
        self,
        labels: Sequence[str],
        backbone: str = "openai/clip-vit-base-patch16",
        adapters: dict[str, AdapterFactory] | None = None,
        prompts: PromptFactory | None = None,
        texts: TextStyle | dict[str, str] = "action_units",
        logit_scale: float = 100.0,
        compile: bool = False,
        checkpointing: bool = False,
        num_frames: int = 16,
        normalize: Literal["backbone", "none"] = "backbone",
    ) -> None:
        super().__init__()
        run = Run(compile, checkpointing)
        self._assemble(load_backbone(backbone), labels, adapters or {}, prompts, logit_scale, run)
        mean, std = (CLIP_MEAN, CLIP_STD) if normalize == "backbone" else (UNIT_MEAN, UNIT_STD)
        self.clip_format = ClipFormat(num_frames, self.image_size, mean, std)
        sentences = class_texts(labels, texts)
        self._set_tokens(*tokenize(self.backbone, sentences, self.prompt_length))
        self.config["texts"] = dict(zip(labels, sentences, strict=True))

    @classmethod
    def assemble(
        cls,
        backbone: Backbone,
        token_ids: Tensor,
        labels: Sequence[str],
        adapters: Mapping[str, AdapterFactory],
        prompts: PromptFactory | None,
        logit_scale: float = 100.0,
        compile: bool = False,
        checkpointing: bool = False,
    ) -> "PEClip":
        """Build a model from a backbone in memory and ready-made token ids.

        Args:
            backbone: a frozen CLIP; needs no tokenizer.
            token_ids: (C, N), each row start token, P placeholders, the text, end-of-text (the largest id), padding.
            labels: C class names.
            adapters: as for the class.
            prompts: as for the class.
            logit_scale: as for the class.
            compile: as for the class.
            checkpointing: as for the class.

        Raises:
            InputError: as for the class, or token ids that do not fit the labels, the vocabulary or the context.
        """
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._assemble(backbone, labels, adapters, prompts, logit_scale, Run(compile, checkpointing))
        check_tokens(token_ids, len(labels), backbone)
        net._set_tokens(token_ids, token_ids.argmax(dim=1))
        net.config["token_ids"] = net.token_ids.tolist() if not token_ids.is_meta else []
        return net

    def _assemble(
        self,
        backbone: Backbone,
        labels: Sequence[str],
        adapters: Mapping[str, AdapterFactory],
        prompts: PromptFactory | None,
        logit_scale: float,
        run: Run,
    ) -> None:
        if not logit_scale > 0:
            raise InputError(f"logit_scale is {logit_scale}, expected a number above 0")
        if not labels:
            raise InputError("labels: there are none, expected at least one class name")
        if repeated := [label for label, count in Counter(labels).items() if count > 1]:
            raise InputError(f"labels: {repeated[0]!r} stands there twice")
        towers = backbone.towers
        self.backbone = backbone
        self.labels = list(labels)
        self.logit_scale = logit_scale
        self.clip = backbone.clip
        self.clip_format = ClipFormat(image_size=backbone.image_size)
        self.adapters = _build_adapters(backbone, adapters)
        self.prompts = prompts(towers["text"].width, towers["vision"].width) if prompts else None
        for tower in towers.values():
            if self.prompts and self.prompts.depth > len(tower.blocks):
                raise InputError(
                    f"prompts: depth is {self.prompts.depth}, but the {tower.name} tower of {backbone.name!r} has "
                    f"{len(tower.blocks)} blocks"
                )
        self.config: dict[str, Any] = {
            "backbone": backbone.name,
            "fingerprint": backbone.fingerprint,
            "labels": self.labels,
            "adapters": {site: describe(factory) for site, factory in adapters.items()},
            "prompts": describe(prompts) if prompts else None,
            "logit_scale": logit_scale,
        }
        self._flows = {name: Flow() for name in towers}
        self._text_cache: dict[bool, tuple[Any, Tensor]] = {}
        self._run = run
        self._handles: list[Handle] = []
        self._attach()

    def _set_tokens(self, token_ids: Tensor, ends: Tensor) -> None:
        """Keep the token ids (C, N) up to the longest end-of-text: the causal tower sees nothing behind it."""
        longest = int(ends.max()) + 1
        self.register_buffer("token_ids", token_ids[:, :longest].clone(), persistent=False)
        self.register_buffer("text_ends", ends.clone(), persistent=False)

    def _attach(self) -> None:
        depth = self.prompts.depth if self.prompts else 0
        for name, tower in self.backbone.towers.items():
            self._handles += attach(tower, _placed(self.adapters, name), depth, self._flows[name], self._run)

    @property
    def prompt_length(self) -> int:
        """Return P, the number of prompt tokens per depth; 0 without prompts."""
        return self.prompts.length if self.prompts else 0

    @property
    def image_size(self) -> int:
        """Return the side, in pixels, of the square frames that :meth:`forward` takes."""
        return self.backbone.image_size

    def forward(self, video: Tensor) -> Tensor:
        """Return the logits of clips.

        Args:
            video: normalised frames, float (B, T, 3, H, W); H and W are :attr:`image_size`. T may change from batch to
                batch.

        Returns:
            Logits (B, C) in the order of the labels, within plus or minus the logit scale.

        Raises:
            ValueError: the video has another shape or holds integers.
        """
        return self.logit_scale * self.encode_video(video) @ self.encode_text().T

    def encode_video(self, video: Tensor) -> Tensor:
        """Return the L2-normalised features (B, D) of clips, float (B, T, 3, H, W); D is the projection's width."""
        if video.ndim != 5 or video.shape[2:] != (3, self.image_size, self.image_size):
            raise ValueError(
                f"video has shape {tuple(video.shape)}, expected (B, T, 3, {self.image_size}, {self.image_size})"
            )
        if not video.is_floating_point():
            raise ValueError(f"video is {video.dtype}, expected normalised frames as floating point")
        clips, frames = video.shape[:2]
        flow = self._flows["vision"]
        flow.frames = frames
        flow.prompts = self.prompts.vision() if self.prompts and self._handles else ()
        tokens = self.clip.vision_model(pixel_values=video.flatten(0, 1)).pooler_output
        flow.prompts = ()  # they hold the pass's graph, with which the model could not be copied
        features = self.clip.visual_projection(tokens)
        return F.normalize(features.view(clips, frames, -1).mean(dim=1), dim=-1)

    def encode_text(self) -> Tensor:
        """Return the L2-normalised features (C, D) of the class texts.

        Without gradients they are computed once, and again only when a weight that they depend on has changed.
        """
        if torch.is_grad_enabled():
            self._text_cache.clear()  # a step may follow, and fused optimizers do not count up the weights' versions
            return self._encode_text()
        attached = bool(self._handles)
        key = self._text_key()
        if self._text_cache.get(attached, (None,))[0] != key:
            self._text_cache[attached] = (key, self._encode_text())
        return self._text_cache[attached][1]

    def _encode_text(self) -> Tensor:
        ids, ends = self.token_ids, self.text_ends
        flow = self._flows["text"]
        flow.prompts = self.prompts.text() if self.prompts else ()
        if self.prompts and not self._handles:  # bare CLIP knows no placeholders
            ids, ends = torch.cat([ids[:, :1], ids[:, 1 + self.prompt_length :]], dim=1), ends - self.prompt_length
        hidden = self.clip.text_model(input_ids=ids).last_hidden_state
        features = self.clip.text_projection(hidden[torch.arange(len(ids), device=ids.device), ends])
        return F.normalize(features, dim=-1)

    def _text_key(self) -> tuple[Any, ...]:
        """Return what the text features depend on: weights (by identity and version), device and precision."""
        device = self.token_ids.device
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        text = [*self.adapters["text"].parameters()] if "text" in self.adapters else []
        weights = [
            *text,
            *(self.prompts.parameters() if self.prompts else ()),
            *self.clip.text_model.parameters(),
            *self.clip.text_projection.parameters(),
        ]
        versions = [(id(weight), 0 if weight.is_inference() else weight._version) for weight in weights]
        return (device, dtype, *versions)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PEClip":
        """Move or convert the weights, which leaves their versions as they were: forget the text features."""
        self._text_cache.clear()
        return super()._apply(fn, recurse)

    def hold_frozen_in(self, dtype: torch.dtype) -> None:
        """Hold the frozen matrices in the precision of the autocast to come: the same results, half the memory."""
        hold_in(self.clip, dtype)
        self._text_cache.clear()

    @contextmanager
    def bare(self) -> Iterator["PEClip"]:
        """Take adapters and prompts out for a while: within the context this is the zero-shot CLIP."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
        try:
            yield self
        finally:
            if handles:  # not so within another bare(), which is the one to put them back
                self._attach()

    def detach(self) -> Backbone:
        """Take adapters and prompts out for good, and return the bare backbone, on which another model may be built."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        return self.backbone

    def train(self, mode: bool = True) -> "PEClip":
        """Set the mode of adapters and prompts; the frozen CLIP always stays in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the tensors of adapters and prompts by name: all that a checkpoint needs of the weights."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(("adapters.", "prompts."))}

    @classmethod
    def from_pretrained(cls, source: str | Path, backbone: str | None = None) -> "PEClip":
        """Build a trained model, in evaluation mode; ``net.config["input"]`` says what clips it was trained on.

        Args:
            source: the folder of a package or its id on the Hub, the folder of a run, a ``.ckpt`` or a released ``.pth``.
            backbone: where the CLIP is, if not at the name that it had in training: a Hub id or a folder.

        Raises:
            InputError: as :func:`peclip.model.io.checkpoint.read_trained` and ``rebuild``.
        """
        from peclip.model.io.checkpoint import read_trained, rebuild, with_record

        return rebuild(with_record(read_trained(source)), backbone)

    def save_pretrained(self, folder: str | Path, dtype: Literal["fp32", "bf16"] = "fp32") -> None:
        """Write a package: adapters and prompts, what rebuilds the model around them, and a model card.

        Args:
            folder: where to; it must not be there, or be empty.
            dtype: precision of the weights; bf16 halves the file.

        Raises:
            InputError: as :func:`peclip.model.io.package.write_package`.
        """
        from peclip.model.io.checkpoint import from_net
        from peclip.model.io.package import write_package

        write_package(from_net(self), Path(folder), dtype)

    def push_to_hub(self, repository: str, dtype: Literal["fp32", "bf16"] = "fp32", private: bool = False) -> str:
        """Upload a package to the Hub and return its address.

        Args:
            repository: OWNER/NAME; it is made if it is not there.
            dtype: precision of the weights; bf16 halves the file.
            private: whether a new repository is private.

        Raises:
            InputError: as :func:`peclip.model.io.package.push_package`.
        """
        from peclip.model.io.checkpoint import from_net
        from peclip.model.io.package import push_package

        return push_package(from_net(self), repository, dtype, private)

    def load_trainable(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load what :meth:`trainable_state` returned.

        Args:
            state: tensors by name.
            source: where they come from, for the message.

        Raises:
            InputError: names are missing or not expected, or a shape differs.
        """
        mine = self.trainable_state()
        missing, extra = sorted(mine.keys() - state.keys()), sorted(state.keys() - mine.keys())
        for what, names in (("lacks", missing), ("holds, but the model does not have,", extra)):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise InputError(f"{source} {what} {names[0]}{more}: it was made with other adapters or prompts")
        for name, value in mine.items():
            if value.shape != state[name].shape:
                raise InputError(
                    f"{source}: {name} has shape {tuple(state[name].shape)}, the model's has {tuple(value.shape)}"
                )
        self.load_state_dict(dict(state), strict=False)


def _build_adapters(backbone: Backbone, adapters: Mapping[str, AdapterFactory]) -> nn.ModuleDict:
    """Make one adapter per block of each site; they are named ``TOWER.PART.BLOCK``."""
    built = nn.ModuleDict()
    for site, factory in adapters.items():
        for tower, part, block in expand_site(site, backbone.towers):
            blocks = _child(_child(built, tower), part)
            if str(block) in blocks:
                raise InputError(f"adapter site {site!r}: block {block} has an adapter from another site already")
            blocks[str(block)] = factory(backbone.towers[tower].width)
    return built


def _child(modules: nn.ModuleDict, name: str) -> nn.ModuleDict:
    if name not in modules:
        modules[name] = nn.ModuleDict()
    child = modules[name]
    assert isinstance(child, nn.ModuleDict)
    return child


def _placed(adapters: nn.ModuleDict, tower: str) -> dict[tuple[str, int], Any]:
    """Return the adapters of a tower by (part, block)."""
    parts = dict(adapters.named_children()).get(tower, nn.ModuleDict())
    return {
        (part, int(block)): adapter
        for part, blocks in parts.named_children()
        for block, adapter in blocks.named_children()
    }
