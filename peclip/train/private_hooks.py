"""Gather the private names of other libraries that peclip overrides, calls or reads, each with its reason.

Lightning is held to the minor versions that the tests run on (pyproject.toml) because of these; a test fails when one of
them disappears, and another where a file uses one that is not listed here. Training uses the public names that this file
gives the hooks of Lightning; rooms below it, which cannot import this file, use what :data:`NAMES` lists.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

HOOKS = {
    "lightning.pytorch.cli:LightningCLI._prepare_subcommand_parser": "options that only one subcommand has",
    "lightning.pytorch.cli:LightningCLI._parse_ckpt_path": "checkpoints hold no options; they are read without unpickling code",
    "lightning.pytorch.cli:LightningCLI._run_subcommand": "one-line errors, signals, and ranks that end together",
    "lightning.pytorch.cli:LightningCLI._prepare_subcommand_kwargs": "checks before a folder is made for the run",
    "lightning.pytorch.cli:LightningCLI._set_seed": "peclip cv parses the options of fit and runs nothing",
    "lightning.pytorch.cli:LightningCLI._parser": "the parser of a subcommand, to write its options as YAML",
    "lightning.pytorch.trainer.connectors.signal_connector:_SignalConnector.register_signal_handlers": "see cluster/signals",
    "lightning.pytorch.trainer.connectors.signal_connector:_SignalConnector.teardown": "see cluster/signals",
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop._broadcast_sigterm_tensor": "the same",
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop._should_check_val_epoch": "see validate_last_epoch",
    "lightning.pytorch.loops.fit_loop:_FitLoop._iteration_based_training": "see resume_exactly",
    "lightning.pytorch.loops.fit_loop:_FitLoop.reset": "the same",
    "lightning.pytorch.trainer.connectors.logger_connector.logger_connector:_LoggerConnector.log_metrics": "see training_time",
    "lightning.pytorch:Trainer.__init__": "its annotations, see NUMBERS",
    "torch:cpu._is_avx512_bf16_supported": "the default precision on a CPU, see model/device",
    "torch:cpu._is_amx_tile_supported": "the same",
    "torch:ops.mkldnn._is_mkldnn_bf16_supported": "the default precision on a CPU, see model/device",
    "torch.nn.parallel:DistributedDataParallel._set_params_and_buffers_to_ignore_for_model": "see cluster/sharded",
}
"""Path of each hook, and the reason why it is overridden or called."""

SETTINGS = {
    "torch._dynamo.config:skip_nnmodule_hook_guards": "compiled models that do not compute as one another, see model/blocks",
    "torch._dynamo.config:recompile_limit": "the same",
    "torch._functorch.config:activation_memory_budget": "how much compiled blocks keep for the gradient, see model/blocks",
}
"""Path of each private setting of torch that is changed, and the reason."""

_PARSER = "jsonargparse._typehints"

NAMES = {
    "torch.nn:Module._forward_hooks": "whether a layer is the product with its weight alone, see model/backbones/layers",
    "torch.nn:Module._forward_pre_hooks": "the same",
    "jsonargparse._typehints:adapt_typehints": "a value is judged before anything is imported, see guard",
    "jsonargparse._typehints:ActionTypeHint": "the name of the option whose value is judged, see guard",
    "jsonargparse._typehints:ActionTypeHint._check_type": "the same",
    "jsonargparse._typehints:ActionTypeHint._typehint": "the same",
    "jsonargparse._actions:_ActionConfigLoad": "a section of options, see guard",
    "jsonargparse._actions:ActionConfigFile": "a configuration is a regular file of bounded size, see guard",
    "jsonargparse._loaders_dumpers:get_yaml_default_loader": "YAML is bounded, and its names are texts, see guard",
    "jsonargparse._common:parsing_settings": "the settings of other parsers are restored, see guard",
    "jsonargparse._optionals:_get_config_read_mode": "the same",
    "jsonargparse._common:is_subclasses_disabled": "which types an option accepts, read as its parser reads them, see class_paths",
    "jsonargparse._util:NestedArg": "the same",
    "jsonargparse._util:get_typehint_origin": "the same",
    "jsonargparse._util:import_object": "the same",
    **dict.fromkeys((f"{_PARSER}:{name}_origin_types" for name in ("callable", "mapping", "sequence")), "the same"),
    **dict.fromkeys((f"{_PARSER}:{name}_origin_types" for name in ("sequence_or_mapping", "tuple_set")), "the same"),
    **dict.fromkeys((f"{_PARSER}:{name}" for name in ("type_expression_types", "accepts_any_value")), "the same"),
    **dict.fromkeys((f"{_PARSER}:get_subclass_{name}types" for name in ("", "or_closed_")), "the same"),
    f"{_PARSER}:is_instance_factory_protocol": "the same",
    f"{_PARSER}:is_subclass_or_implements_protocol": "the same",
    "lightning.pytorch.callbacks:WeightAveraging._average_model": "see average_exactly",
    "lightning.pytorch.loggers:WandbLogger._log_model": "whether a logger uploads checkpoints, see runs/checkpoint_io",
    "lightning.pytorch.loggers:WandbLogger._prefix": "names of metrics in the files of W&B, see runs/wandb_logger",
    "multiprocessing.forkserver:_forkserver": "a fork of the main process needs another server, see data/forking",
    "multiprocessing.forkserver:_forkserver._forkserver_pid": "the same",
    "multiprocessing.forkserver:_forkserver._forkserver_alive_fd": "the same",
    "multiprocessing.forkserver:_forkserver._forkserver_address": "the same",
    "torch:Tensor._version": "whether a weight was written to, see model/tokens and model/parts/peft",
    "torch:_softmax_backward_data": "the gradient of a softmax without a copy, see model/fast/frozen",
    "torch._inductor.exc:InductorError": "compiling has failed, see model/blocks",
    "torch.cpu:_is_vnni_supported": "whether int8 is fast here, see model/fast/int8",
    "torch.nn:Module._modules": "a layer of PEFT that holds no second copy of its linear layer, see model/parts/peft",
    "torch.nn:Module._parameters": "the same",
    "torch.nn.modules.dropout:_DropoutNd": "whether a model has dropout of any kind, see model/network",
    "torch.utils._python_dispatch:TorchDispatchMode": "the bytes that a step moves, see bench/floor",
    "torch.utils._pytree:tree_leaves": "the same",
    "torch._ops:OpOverload._overloadpacket": "the same",
}
"""Path of each private name that is read, or used by rooms below, and the reason."""

NUMBERS = {
    **dict.fromkeys(("limit_train_batches", "limit_val_batches", "limit_test_batches"), int | float | None),
    "limit_predict_batches": int | float | None,
    "overfit_batches": int | float,
}
"""Options of the Trainer where 1 is one batch and 1.0 all of them."""


class SignalHandler(Protocol):
    """Interface that Lightning's loops need of a signal handler."""

    received_sigterm: bool

    def register_signal_handlers(self) -> None:
        """Install the handlers when a training or an evaluation starts."""

    def teardown(self) -> None:
        """Restore the handlers that were installed before."""


class HookedCLI(LightningCLI):
    """LightningCLI with public hooks in place of its private ones.

    Args:
        args: arguments of LightningCLI.
        only: the subcommand that will be called: the parsers of the others stay empty, because a parser takes long to
            build; None builds all of them.
        options: keyword arguments of LightningCLI.
    """

    def __init__(self, *args: Any, only: str | None = None, **options: Any) -> None:
        self.only = only
        # typing.Optional[Union[int, float]] is the same object as Optional[Union[float, int]], whichever was made first: where
        # rich is imported before Lightning, a parser would read 1 as 1.0.
        Trainer.__init__.__annotations__.update(NUMBERS)
        super().__init__(*args, **options)

    def add_subcommand_arguments(self, parser: LightningArgumentParser, subcommand: str) -> None:
        """Add options that only this subcommand has."""

    def prepare_subcommand(self, subcommand: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Prepare the subcommand, and return the arguments of the Trainer's method, given those of Lightning."""
        return arguments

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand."""
        super()._run_subcommand(subcommand)

    def set_seed(self) -> None:
        """Seed the random generators of this process."""
        super()._set_seed()

    def subcommand_parser(self, subcommand: str) -> LightningArgumentParser:
        """Return the parser of a subcommand."""
        return super()._parser(subcommand)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if self.only not in (None, subcommand):
            return self.init_parser(**kwargs)
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.add_subcommand_arguments(parser, subcommand)
        return parser

    def _parse_ckpt_path(self) -> None:
        """Skip reading options from a checkpoint: it contains none."""

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return self.prepare_subcommand(subcommand, super()._prepare_subcommand_kwargs(subcommand))

    def _set_seed(self) -> None:
        self.set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_subcommand(subcommand)


def handle_signals_with(trainer: Trainer, handler: SignalHandler) -> None:
    """Replace the signal handler of a trainer; Lightning has no option for it.

    The handler only records a signal; :class:`peclip.train.cluster.signals.AskedToEnd` asks the ranks, about once a second. Lightning's
    loop would ask them at every step, and the host would wait for the answer.
    """
    trainer._signal_connector = handler  # type: ignore[assignment]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _ask_nobody  # type: ignore[method-assign]


def _ask_nobody() -> None:
    """Ask no rank, in place of Lightning's question at every step."""


def writer_of_rows(trainer: Trainer) -> tuple[object, str]:
    """Return an object, and the name of its method that passes the values which a step has logged to the loggers."""
    return trainer._logger_connector, "log_metrics"


def ignore_in_ddp(module: LightningModule, names: Sequence[str]) -> None:
    """Make DDP ignore parameters, by their names in the module."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def process_rank() -> int:
    """Return the rank of this process before there is a trainer; 0 if it is not known."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def know_rank(nodes: int) -> None:
    """Let Lightning's ``rank_zero_only`` know before there is a trainer that this process is not the first of several nodes.

    The first process of another node knows only the number of its node, which is at least 1 too.
    """
    if nodes > 1 and not process_rank():
        node = int(os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or 0)
        rank_zero_only.rank = node  # type: ignore[attr-defined]  # Lightning sets it too


def resume_exactly(trainer: Trainer) -> None:
    """Make a training resume in the epoch of its checkpoint, also if ``max_steps`` limits it.

    With ``max_steps``, Lightning resumes within the last epoch even if that was complete: it ends the epoch a second time, and the
    clips that follow are those of another epoch. Here the next epoch follows a complete one. An epoch that ``max_steps`` or a
    callback has ended early counts as complete in its checkpoint; a training that resumes continues it.
    """
    loop = trainer.fit_loop
    loop._iteration_based_training = _never  # type: ignore[method-assign]
    loop.reset = partial(_reset_in_epoch, loop, loop.reset)  # type: ignore[method-assign]


def _never() -> bool:
    return False


def _reset_in_epoch(loop: Any, reset: Callable[[], None]) -> None:
    """Reset a loop of epochs when a training begins or resumes, not when there is nothing left to train."""
    epochs, batches = loop.epoch_progress, loop.epoch_loop.batch_progress
    if epochs.current.processed > epochs.current.completed and not batches.is_last_batch:
        for progress in (epochs.current, epochs.total):
            progress.processed -= 1
        loop.restarting = True
    reset()


def validate_last_epoch(trainer: Trainer) -> None:
    """Make a training validate its last epoch, also if ``check_val_every_n_epoch`` would omit it.

    Its weights could not be chosen otherwise, and a training of a single epoch would have no best checkpoint.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._should_check_val_epoch = partial(_or_last, loop._should_check_val_epoch, trainer)  # type: ignore[method-assign]


def _or_last(is_validated: Callable[[], bool], trainer: Trainer) -> bool:
    is_last = trainer.current_epoch + 1 == trainer.max_epochs
    return is_validated() or (is_last and trainer.enable_validation)


def average_exactly(trainer: Trainer) -> None:
    """Make the average of a weight that never changes bit-identical to that weight, once the callbacks are set up.

    Lightning averages frozen weights too. ``d * w + (1 - d) * w`` is not always w, so they would drift from those of the
    backbone, and neither a resumed run nor an evaluation of the checkpoint would have them.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        averages = callback._average_model if isinstance(callback, WeightAveraging) else None
        if averages and averages.avg_fn:
            averages.avg_fn = partial(_unless_equal, averages.avg_fn)


def _unless_equal(average: Callable[..., Tensor], mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    return torch.where(mean == current, mean, average(mean, current, count))
