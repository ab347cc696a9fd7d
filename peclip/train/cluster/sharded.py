"""Shard the frozen CLIP over the devices of a machine with FSDP2, and train the rest with DDP.

Lightning's strategies for sharding would also shard the trainable weights, which are small, and with them every checkpoint.
Here adapters, prompts, their optimizer and checkpoints are those of DDP.
"""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from peclip.errors import InputError
from peclip.model import PEClip
from peclip.train.private_hooks import ignore_in_ddp


def check_strategy(trainer: Trainer, sharded: bool) -> None:
    """Check that the strategy does not shard adapters and prompts, and that CLIP can be sharded if asked for.

    Raises:
        InputError: the strategy shards them, or has no devices to shard CLIP over.
    """
    strategy, devices = type(trainer.strategy).__name__, trainer.num_devices
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {strategy} would shard adapters and prompts: set ddp, and sharded true to shard CLIP",
            "sharded",
        )
    if sharded and not (isinstance(trainer.strategy, DDPStrategy) and devices > 1):
        raise InputError(
            f"sharded is true, but trainer.strategy is {strategy} with {devices} of trainer.devices: set ddp and 2 or more, or "
            "sharded false",
            "sharded",
        )


def shard(trainer: Trainer, module: LightningModule, net: PEClip) -> None:
    """Keep on each device its shard of the frozen blocks; a block gathers the other shards when it runs, and frees them.

    The shards of one CLIP are spread over the devices of one machine, so that gathering them does not use the network. DDP
    ignores these weights.

    Args:
        trainer: trainer whose processes are connected.
        module: module that DDP will wrap.
        net: model within the module; its frozen weights already have their final precision.
    """
    if any(isinstance(part, FSDPModule) for part in net.clip.modules()):
        return  # an evaluation after the training
    sizes = (trainer.num_nodes, trainer.num_devices)
    mesh = init_device_mesh(trainer.strategy.root_device.type, sizes, mesh_dim_names=("machine", "device"))["device"]
    with net.bare():  # otherwise FSDP's hooks would run before those of the prompts
        for tower in net.backbone.towers.values():
            for block in tower.blocks:
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
            # The other weights, above all the table of the text tokens, would be gathered for the whole tower, so each device
            # keeps them. A tower is a unit, so that its blocks can prefetch.
            rest = {weight for weight in tower.module.parameters() if not isinstance(weight, DTensor)}
            fully_shard(tower.module, mesh=mesh, ignored_params=rest)
    shards = [name for name, weight in module.named_parameters() if isinstance(weight, DTensor)]
    ignore_in_ddp(module, shards)
    for loop in (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop, trainer.predict_loop):
        loop.inference_mode = False  # weights that are gathered in an evaluation cannot be used in training afterwards
