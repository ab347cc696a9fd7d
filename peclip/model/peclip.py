"""PEClip: how the network is built, its trained weights, and the files that they are read from and written to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, final

from torch import Tensor

from peclip.arguments import checked
from peclip.class_texts import class_texts
from peclip.errors import InputError
from peclip.labels import class_names
from peclip.model.backbones.clip import DEFAULT_BACKBONE
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.load import load_backbone
from peclip.model.blocks import BlockExecution
from peclip.model.build import Built, Normalize, build, build_trained
from peclip.model.io.checkpoint import read_trained
from peclip.model.io.fits import check_fits, check_state, digest
from peclip.model.io.package import Dtype, push_package, with_record, write_package
from peclip.model.io.released import read_released
from peclip.model.io.trained import Trained
from peclip.model.modules import PromptFactory, TemporalFactory, chosen
from peclip.model.network import Network
from peclip.model.parts.adapters import PE_CLIP, AdapterFactory
from peclip.model.parts.in_place import TrainedNorms
from peclip.model.parts.peft_config import PeftMethod, describe_method
from peclip.model.parts.prompts import MaPLe
from peclip.model.parts.temporal import MeanPool
from peclip.model.weights import check_kept
from peclip.results.card import RunRecord


@final
class PEClip(Network):
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
            default the four of the paper, ShA, TDA, ShA and TA; {} or None for none.
        prompts: the prompt class; by default MaPLe, 9 deep or as deep as the shorter tower. None for none.
        texts: ``action_units`` (FACS descriptions of expressions), ``names``, ``sentences`` ("an expression of ..."), a template
            with ``{label}`` such as "a video of a person {label}", a list of several of these, or the texts themselves by
            label, one or a list. The normalised features of several texts of a class are averaged, and normalised again.
        logit_scale: factor on the cosine similarities; above 0, at most 1,000,000. None for the one that the backbone was trained with.
        compile: whether torch.compile fuses the operations of each block: the first step then takes about a minute.
        checkpointing: whether blocks keep only their input for the gradient and recompute the rest: less memory, more time.
        activation_memory_budget: about the share of what compiled blocks keep by default, above 0 and up to 1: what costs
            least is recomputed to stay within it, so that 0.7 saves a quarter of the memory for less time than checkpointing.
            Not for models with dropout or parts of other packages.
        num_frames: T, frames of the clips that it is trained on; 1 to 10,000.
        normalize: ``backbone`` subtracts the mean of the backbone's pixels and divides by their standard deviation;
            ``none`` keeps pixels in [0, 1].
        without: sites of ``adapters`` to omit, such as [vision.mlp] for PE-CLIP without TDA.
        upright: whether it is trained on faces that ``peclip faces --upright true`` has turned so that the eyes are level;
            ``peclip recognize`` turns them, too.
        temporal: class of the temporal head, which makes the feature of a clip from those of its frames: by default their mean.
        peft: a configuration of Hugging Face PEFT, such as ``peft.LoraConfig``, whose layers stand around linear layers of the
            frozen backbone, alone or beside adapters and prompts. None for none.
        norms: the towers of the backbone whose norms train as well: both, vision or text. None for none.

    Raises:
        InputError: an unknown site, two adapters at one place, prompts deeper than a tower, a label without a text, a
            text that is too long, a value out of range, a part that no checkpoint holds, or a backbone that cannot be loaded.
    """

    _record: tuple[RunRecord, str] | None = None
    """Record of the training of the weights, with their digest; None if there is none."""

    @checked("labels", "texts", "peft")
    def __init__(
        self,
        labels: Sequence[str],
        backbone: str = DEFAULT_BACKBONE,
        adapters: dict[str, AdapterFactory] | None = PE_CLIP,
        prompts: PromptFactory | None = MaPLe,
        texts: dict[str, str | list[str]] | list[str] | str = "action_units",
        logit_scale: float | None = 100.0,
        compile: bool = False,
        checkpointing: bool = False,
        activation_memory_budget: float = 1.0,
        num_frames: int = 16,
        normalize: Normalize = "backbone",
        without: list[str] | None = None,
        upright: bool = False,
        temporal: TemporalFactory = MeanPool,
        peft: PeftMethod | None = None,
        norms: TrainedNorms | None = None,
    ) -> None:
        execution = BlockExecution(compile, checkpointing, activation_memory_budget)
        names = class_names(labels)
        sentences = dict(zip(names, class_texts(names, texts), strict=True))
        method = describe_method(peft) if peft else None
        kept, here = chosen(adapters or {}, without or ()), load_backbone(backbone)
        built = build(
            here,
            labels=names,
            texts=sentences,
            adapters=kept,
            prompts=prompts,
            logit_scale=logit_scale,
            num_frames=num_frames,
            normalize=normalize,
            upright=upright,
            temporal=temporal,
            peft=method,
            norms=norms,
        )
        super().__init__(built, execution)
        check_kept(self.trainable_state())

    @classmethod
    @checked("labels", "peft")
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
        activation_memory_budget: float = 1.0,
        num_frames: int = 16,
        normalize: Normalize = "backbone",
        upright: bool = False,
        temporal: TemporalFactory = MeanPool,
        peft: PeftMethod | None = None,
        norms: TrainedNorms | None = None,
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
            labels=class_names(labels),
            texts=token_ids,
            adapters=adapters,
            prompts=prompts,
            logit_scale=logit_scale,
            num_frames=num_frames,
            normalize=normalize,
            upright=upright,
            temporal=temporal,
            peft=method,
            norms=norms,
        )
        return cls._of(built, BlockExecution(compile, checkpointing, activation_memory_budget))

    @classmethod
    @checked()
    def from_trained(
        cls,
        trained: Trained,
        backbone: str | None = None,
        compile: bool = False,
        checkpointing: bool = False,
        activation_memory_budget: float = 1.0,
    ) -> "PEClip":
        """Build the model that was trained, in evaluation mode.

        Args:
            trained: trained model as plain data, from :func:`peclip.model.io.read_trained`.
            backbone: Hub id, folder or file of the backbone, if it has moved since the training.
            compile: whether torch.compile fuses the operations of each block.
            checkpointing: whether blocks recompute for the gradient what they do not keep.
            activation_memory_budget: about the share of what compiled blocks keep for the gradient by default.

        Raises:
            InputError: the backbone cannot be loaded or is another one, or the weights do not fit the configuration.
        """
        execution = BlockExecution(compile, checkpointing, activation_memory_budget)
        net = cls._of(build_trained(trained, backbone), execution)
        net.load_trainable(trained.state, trained.source)
        net._record = (trained.record, digest(net.trainable_state())) if trained.record else None
        return net.eval()

    @classmethod
    @checked()
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
    def _of(cls, built: Built, execution: BlockExecution) -> "PEClip":
        net = cls.__new__(cls)
        Network.__init__(net, built, execution)
        check_kept(net.trainable_state())
        return net

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the tensors of adapters, prompts, temporal head, layers of PEFT and norms by name: all that a checkpoint needs."""
        own = ("adapters.", "prompts.", "temporal.", "peft.", "norms.")
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
                    f"{name} of the backbone {what}, but only adapters, prompts, temporal, peft and norms are trained and saved: name "
                    "layers of Hugging Face PEFT with peft, train its norms with norms, or freeze the backbone as it was"
                )

    @checked()
    def load_trainable(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load what :meth:`trainable_state` returned.

        Args:
            state: tensors by name.
            source: file of the tensors, for messages.

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

    @checked()
    def load_trained(self, trained: Trained) -> None:
        """Take over trained weights, and the temperature that was fitted to them.

        Raises:
            InputError: they were trained with other labels, texts, backbone, adapters, prompts, peft, norms, scale or clip format.
        """
        check_fits(trained, self.config, self.token_ids.cpu(), self.backbone.layout, self.prompt_length)
        self.load_trainable(trained.state, trained.source)
        self.temperature = trained.config.temperature

    @checked()
    def save_pretrained(self, folder: str | Path, dtype: Dtype = "fp32") -> None:
        """Write a package: adapters and prompts, what rebuilds the model around them, and a model card.

        Args:
            folder: folder of the package; must be absent or empty.
            dtype: precision of the weights; bf16 halves the file.

        Raises:
            InputError: as :func:`peclip.model.io.package.write_package`.
        """
        write_package(self.to_trained(), Path(folder), dtype)

    @checked()
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


@checked()
def load_released(
    source: str | Path | Mapping[str, Tensor],
    token_ids: Tensor | None = None,
    texts: Sequence[str] | None = None,
    scope: Literal["clip", "batch"] = "batch",
) -> PEClip:
    """Build a model from a checkpoint in the layout of the authors' released program, in evaluation mode.

    Args:
        source: a ``.pth``, of which only the tensors are read, or a state dict.
        token_ids: int64 (C, L) with P placeholders after the start token; wins over ``texts``.
        texts: C class texts. Without either, the token ids are recovered from the checkpoint.
        scope: extent of the temporal adapter's recurrence, a clip or the whole batch; ``batch`` in the authors' program.

    Raises:
        InputError: as :func:`peclip.model.io.read_released`.
    """
    return PEClip.from_trained(read_released(source, token_ids, texts, scope))
