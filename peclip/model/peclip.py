"""PEClip: a frozen CLIP with adapters and prompts inside, and class texts. No Lightning here.

Letters: B clips, T frames of a clip, L tokens, D width, C classes, P prompt tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, final

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.class_texts import class_texts
from peclip.clip_format import ClipFormat
from peclip.errors import InputError, shown
from peclip.labels import class_names
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.load import load_backbone
from peclip.model.build import (
    PE_CLIP,
    AdapterFactory,
    Built,
    Normalize,
    PromptFactory,
    TemporalFactory,
    build,
    build_trained,
    chosen,
    placed,
)
from peclip.model.fast.frozen import hold_in
from peclip.model.inject import Flow, Handle, LayerForward, Run, attach, uses_one_token
from peclip.model.io.checkpoint import read_trained
from peclip.model.io.package import Dtype, push_package, with_record, write_package
from peclip.model.io.released import read_released
from peclip.model.io.trained import Trained, check_fits, check_state, digest
from peclip.model.parts.peft import PeftMethod, describe_method, each_layer
from peclip.model.parts.prompts import MaPLe
from peclip.model.parts.temporal import MeanPool
from peclip.model.text_cache import TextCache
from peclip.model.tokens import tokenize_texts
from peclip.results.card import RunRecord


@final
class PEClip(nn.Module):
    """PE-CLIP: clips in, of faces or of anything else, a logit per class out.

    ``logits = logit_scale * video @ text.T``: the clip feature is the mean over the T frames of the projected class
    token, the text feature the projected end-of-text token of each class text, both L2-normalised. CLIP stays frozen;
    ``adapters``, ``prompts`` and ``temporal`` own every trainable parameter: PE-CLIP (Saadi, Hadid, Cunningham, Taleb-Ahmed, El
    Hillali), https://arxiv.org/abs/2503.16945. Zero-shot CLIP is ``PEClip(labels, adapters={}, prompts=None)``.

    Args:
        labels: class names; their order is the order of the logits. Spellings that peclip knows, such as ``happy``, become its
            own names. The command line reads them from the data.
        backbone: a Hub id such as ``openai/clip-vit-base-patch16``, a folder that holds a CLIP, a SigLIP or a MetaCLIP 2, a
            folder of open_clip, a file of weights in OpenAI's layout such as FaRL's, or ``demo``.
        adapters: adapter class by site: ``vision.attention``, ``vision.mlp``, ``text.attention`` or ``text.mlp``, or only
            some blocks of one, as in ``vision.mlp[6:12]``. One adapter is made per block, with the width of its tower. By
            default the four of the paper, ShA, TDA, ShA and TA; {} or null for none.
        prompts: the prompt class; by default MaPLe, 9 deep or as deep as the shorter tower. null for none.
        texts: ``action_units`` (FACS descriptions of expressions), ``names``, ``sentences`` ("an expression of ..."), a template
            with ``{label}`` such as "a video of a person {label}", or the texts themselves by label.
        logit_scale: factor on the cosine similarities; above 0. null for the one that the backbone was trained with.
        compile: whether torch.compile fuses the operations of each block: the first step then takes about a minute.
        checkpointing: whether blocks keep only their input for the gradient and recompute the rest: less memory, more time.
        num_frames: T, frames of the clips that it is trained on; 1 to 10,000.
        normalize: ``backbone`` subtracts the mean of the backbone's pixels and divides by their standard deviation;
            ``none`` keeps pixels in [0, 1].
        without: sites of ``adapters`` to omit, such as [vision.mlp] for PE-CLIP without TDA.
        upright: whether it is trained on faces that ``peclip faces --upright true`` has turned so that the eyes are level;
            ``peclip recognize`` turns them, too.
        temporal: class of the temporal head, which makes the feature of a clip from those of its frames: by default their mean.
        peft: a configuration of Hugging Face PEFT, such as ``peft.LoraConfig``, whose layers stand around linear layers of the
            frozen backbone, alone or beside adapters and prompts. null for none.

    Raises:
        InputError: an unknown site, two adapters at one place, prompts deeper than a tower, a label without a text, a
            text that is too long, a value out of range, or a backbone that cannot be loaded.
    """

    token_ids: Tensor
    text_ends: Tensor

    def __init__(
        self,
        labels: Sequence[str],
        backbone: str = "openai/clip-vit-base-patch16",
        adapters: dict[str, AdapterFactory] | None = PE_CLIP,
        prompts: PromptFactory | None = MaPLe,
        texts: dict[str, str] | str = "action_units",
        logit_scale: float | None = 100.0,
        compile: bool = False,
        checkpointing: bool = False,
        num_frames: int = 16,
        normalize: Normalize = "backbone",
        without: list[str] | None = None,
        upright: bool = False,
        temporal: TemporalFactory = MeanPool,
        peft: PeftMethod | None = None,
    ) -> None:
        super().__init__()
        sentences = dict(zip(class_names(labels), class_texts(labels, texts), strict=True))
        kept, here = chosen(adapters or {}, without or ()), load_backbone(backbone)
        method = describe_method(peft) if peft else None
        built = build(
            here, labels, sentences, kept, prompts, logit_scale, num_frames, normalize, upright, temporal, method
        )
        self._take(built, Run(compile, checkpointing))

    @classmethod
    def assemble(
        cls,
        backbone: Backbone,
        token_ids: Tensor,
        labels: Sequence[str],
        adapters: Mapping[str, AdapterFactory] = PE_CLIP,
        prompts: PromptFactory | None = MaPLe,
        logit_scale: float = 100.0,
        compile: bool = False,
        checkpointing: bool = False,
        num_frames: int = 16,
        normalize: Normalize = "backbone",
        upright: bool = False,
        temporal: TemporalFactory = MeanPool,
        peft: PeftMethod | None = None,
    ) -> "PEClip":
        """Build a model from a backbone in memory and ready-made token ids.

        ``backbone`` is a frozen CLIP and needs no tokenizer. ``token_ids`` (C, N) have in each row the start token, P
        placeholders, the text, end-of-text (the largest id) and padding. The other arguments are those of the class.

        Raises:
            InputError: as for the class, or token ids that do not fit the labels, the vocabulary or the context.
        """
        method = describe_method(peft) if peft else None
        built = build(
            backbone,
            labels,
            token_ids,
            adapters,
            prompts,
            logit_scale,
            num_frames,
            normalize,
            upright,
            temporal,
            method,
        )
        return cls._of(built, Run(compile, checkpointing))

    @classmethod
    def from_trained(
        cls, trained: Trained, backbone: str | None = None, compile: bool = False, checkpointing: bool = False
    ) -> "PEClip":
        """Build the model that was trained, in evaluation mode.

        Args:
            trained: from :func:`peclip.model.io.read_trained`.
            backbone: Hub id, folder or file of the backbone, if it has moved since the training.
            compile: as for the class.
            checkpointing: as for the class.

        Raises:
            InputError: the backbone cannot be loaded or is another one, or the weights do not fit the configuration.
        """
        net = cls._of(build_trained(trained, backbone), Run(compile, checkpointing))
        net.load_trainable(trained.state, trained.source)
        net._record = (trained.record, digest(net.trainable_state())) if trained.record else None
        return net.eval()

    @classmethod
    def from_pretrained(cls, source: str | Path, backbone: str | None = None) -> "PEClip":
        """Build a trained model, in evaluation mode; :attr:`clip_format` describes the clips that it was trained on.

        Args:
            source: the folder of a package or its id on the Hub, the folder of a run, a ``.ckpt`` or a released ``.pth``.
            backbone: Hub id, folder or file of the backbone, if it has moved since the training.

        Raises:
            InputError: as :func:`peclip.model.io.read_trained` and :meth:`from_trained`.
        """
        return cls.from_trained(with_record(read_trained(source)), backbone)

    @classmethod
    def _of(cls, built: Built, run: Run) -> "PEClip":
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._take(built, run)
        return net

    def _take(self, built: Built, run: Run) -> None:
        self.backbone, self.clip, self.config = built.backbone, built.backbone.clip, built.config
        self.adapters, self.prompts = built.adapters, built.prompts
        self.temporal, self.peft = built.temporal, built.peft
        self.register_buffer("token_ids", built.token_ids, persistent=False)
        self.register_buffer("text_ends", built.ends, persistent=False)
        self._flows = {name: Flow() for name in self.backbone.towers}
        self._texts, self.logit_bias = TextCache(), built.backbone.logit_bias
        self._run = replace(run, draws=self.draws)
        self._of_clip = frozenset(name for name, _ in self.clip.named_parameters())
        self._record: tuple[RunRecord, str] | None = None  # of a training, with the digest of its weights
        self._handles: list[Handle] = []
        self._is_bare = False
        self._mixes = {  # without them too: then adapters that are the identity change no bit
            name: not uses_one_token(tower, placed(self.adapters, name)) for name, tower in self.backbone.towers.items()
        }
        self._attach()

    def _attach(self) -> None:
        self._handles += [LayerForward(self.clip.get_submodule(name), layer) for name, layer in each_layer(self.peft)]
        for name, tower in self.backbone.towers.items():
            depth = self.prompts.depth_in(name) if self.prompts else 0
            self._handles += attach(tower, placed(self.adapters, name), depth, self._flows[name], self._run)

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
        """Divisor of the logits in :meth:`probabilities`; 1 where none was fitted."""
        return self.config.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.config = replace(self.config, temperature=value)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the calibrated probabilities (B, C) of logits (B, C) of :meth:`forward`."""
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
        """True where a pass in training mode draws random numbers, as with dropout."""
        return any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in self.modules())

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
            SigLIP adds to all of them.

        Raises:
            ValueError: the video has another shape or holds integers.
        """
        logits = self.logit_scale * self.encode_video(video) @ self.encode_text().T
        return logits.float() + self.logit_bias if self.logit_bias else logits

    def encode_video(self, video: Tensor) -> Tensor:
        """Return the L2-normalised features (B, D) of clips, float (B, T, 3, H, W); D is the projection's width.

        Raises:
            ValueError: the video has another shape or holds integers.
        """
        side = self.image_size
        if video.ndim != 5 or video.shape[2:] != (3, side, side):
            raise ValueError(f"video has shape {tuple(video.shape)}, expected (B, T, 3, {side}, {side})")
        if not video.is_floating_point():
            raise ValueError(f"video is {video.dtype}, expected normalised frames as floating point")
        flow = self._flows["vision"]
        flow.frames = frames = video.shape[1]
        flow.prompts = self.prompts.vision() if self.prompts and not self._is_bare else ()
        features = self.backbone.encode_frames(rearrange(video, "b t c h w -> (b t) c h w"), self._mixes["vision"])
        flow.prompts = ()  # they hold the pass's graph, with which the model could not be copied
        features = rearrange(features, "(b t) d -> b t d", t=frames)
        return F.normalize(features.mean(dim=1) if self._is_bare else self.temporal(features), dim=-1)

    def encode_text(self, texts: Sequence[str] | None = None) -> Tensor:
        """Return the L2-normalised features (C, D) of texts, in the space of :meth:`encode_video`.

        Adapters and prompts of the text tower act on any text. The features of the class texts are computed once without
        gradients, and again only when a weight that they depend on has changed.

        Args:
            texts: any C texts; by default the class texts.

        Raises:
            InputError: there is no text, one has no token or too many, or the backbone has no tokenizer.
        """
        if texts is not None:
            return self._encode_texts(texts)
        if torch.is_grad_enabled():
            self._texts.clear()  # a step may follow, and fused optimizers do not count up the weights' versions
            return self._encode_text()
        text = self.adapters["text"].parameters() if "text" in self.adapters else ()
        prompts = self.prompts.parameters() if self.prompts and self.prompt_length else ()
        weights = (*text, *prompts, *self.peft.parameters(), *self.backbone.text_weights())
        return self._texts.get(self._is_bare, self.token_ids.device, weights, self._encode_text)

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        if isinstance(texts, str) or not texts:
            raise InputError(f"texts is {shown(texts)}, expected one text or more in a list", "texts")
        named = {f"text {number}": text for number, text in enumerate(texts)}
        ids, ends = tokenize_texts(self.backbone, named, self.prompt_length)
        return self._encode_tokens(ids.to(self.token_ids.device), ends.to(self.token_ids.device))

    def _encode_text(self) -> Tensor:
        return self._encode_tokens(self.token_ids, self.text_ends)

    def _encode_tokens(self, ids: Tensor, ends: Tensor) -> Tensor:
        length = ids.shape[1]
        flow = self._flows["text"]
        flow.prompts = self.prompts.text() if self.prompts else ()
        if self.prompt_length and self._is_bare:  # a bare backbone knows no placeholders
            ids = self.backbone.layout.without_prompts(ids, self.prompt_length)
            ends = ends - (length - ids.shape[1])
        return F.normalize(self.backbone.encode_tokens(ids, ends, self._mixes["text"]), dim=-1)

    def hold_frozen_in(self, dtype: torch.dtype) -> None:
        """Convert the frozen matrices to the precision of the autocast to come: the same results, half the memory."""
        hold_in(self.clip, dtype)
        self._texts.clear()

    def run_plainly(self) -> None:
        """Neither compile blocks nor recompute them for the gradient."""
        with self.bare():
            self._run = Run()

    @contextmanager
    def bare(self) -> Iterator["PEClip"]:
        """Take adapters, prompts and temporal head out within the context: there this is the zero-shot CLIP."""
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
    def all_tokens(self) -> Iterator["PEClip"]:
        """Compute all vision tokens within the context, also those of the last block that no feature is read from."""
        before = self._mixes
        self._mixes = before | {"vision": True}
        try:
            yield self
        finally:
            self._mixes = before

    def train(self, mode: bool = True) -> "PEClip":
        """Set the mode of adapters and prompts; the frozen CLIP always stays in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the tensors of adapters, prompts, temporal head and layers of PEFT by name: all the weights that a checkpoint needs."""
        own = ("adapters.", "prompts.", "temporal.", "peft.")
        return {name: value for name, value in self.state_dict().items() if name.startswith(own)}

    def check_owned(self) -> None:
        """Check that the backbone is as it was made: what is trained or added in it would be in no checkpoint.

        Raises:
            InputError: a weight of it is trainable, or it has others, such as layers that PEFT has put there.
        """
        for name, weight in self.clip.named_parameters():
            if weight.requires_grad or name not in self._of_clip:
                what = "is trainable" if weight.requires_grad else "was added to it"
                raise InputError(
                    f"{name} of the backbone {what}, but only adapters, prompts, temporal and peft are trained and saved: name layers of "
                    "Hugging Face PEFT with peft, or freeze the backbone as it was"
                )

    def load_trainable(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load what :meth:`trainable_state` returned.

        Args:
            state: tensors by name.
            source: where they come from, for the message.

        Raises:
            InputError: names are missing or not expected, or a shape differs.
        """
        check_state(state, self.trainable_state(), source)
        self.load_state_dict(dict(state), strict=False)

    def to_trained(self) -> Trained:
        """Return the model as plain data, with the record of its training as long as the weights are those of the record."""
        self.check_owned()
        state = self.trainable_state()
        record = self._record[0] if self._record and self._record[1] == digest(state) else None
        return Trained(self.config, state, "this model", record=record)

    def load_trained(self, trained: Trained) -> None:
        """Take over trained weights, and the temperature that was fitted to them.

        Raises:
            InputError: they were trained with other labels, texts, backbone, adapters, prompts, peft, scale or clip format.
        """
        check_fits(trained, self.config, self.token_ids.cpu(), self.backbone.layout, self.prompt_length)
        self.load_trainable(trained.state, trained.source)
        self.temperature = trained.config.temperature

    def save_pretrained(self, folder: str | Path, dtype: Dtype = "fp32") -> None:
        """Write a package: adapters and prompts, what rebuilds the model around them, and a model card.

        Args:
            folder: of the package; must be absent or empty.
            dtype: precision of the weights; bf16 halves the file.

        Raises:
            InputError: as :func:`peclip.model.io.package.write_package`.
        """
        write_package(self.to_trained(), Path(folder), dtype)

    def push_to_hub(self, repository: str, dtype: Dtype = "fp32", private: bool = False) -> str:
        """Upload a package to the Hub and return its address.

        Args:
            repository: OWNER/NAME; it is created if it does not exist.
            dtype: precision of the weights; bf16 halves the file.
            private: whether a new repository is private.

        Raises:
            InputError: as :func:`peclip.model.io.package.push_package`.
        """
        return push_package(self.to_trained(), repository, dtype, private)


def load_released(
    source: str | Path | Mapping[str, Tensor],
    token_ids: Tensor | None = None,
    texts: Sequence[str] | None = None,
    scope: Literal["clip", "batch"] = "batch",
) -> PEClip:
    """Build a model from a checkpoint in the layout of the authors' released program, in evaluation mode.

    The arguments and errors are those of :func:`peclip.model.io.read_released`.
    """
    return PEClip.from_trained(read_released(source, token_ids, texts, scope))
