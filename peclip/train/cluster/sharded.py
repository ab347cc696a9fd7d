"""A frozen CLIP in parts, one on each device of a machine: torch shards what never learns, Lightning's DDP does the rest.

Lightning's strategies for sharding would also cut up what learns, which is small, and with it every checkpoint. Here
adapters, prompts, their optimiser and checkpoints are those of DDP.
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
    """Check that the strategy keeps adapters and prompts whole, and has devices among which CLIP can be divided.

    Raises:
        InputError: it does not, or has not.
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
    """Leave on each device its part of the frozen blocks; a block fetches the others' when it runs, and drops them.

    The devices of a machine hold one CLIP together, so that what is fetched does not cross the network. DDP is told to
    leave these weights alone.

    Args:
        trainer: whose processes are connected.
        module: that DDP will wrap.
        net: within it, its frozen weights in the precision in which they are to be held.
    """
    if any(isinstance(part, FSDPModule) for part in net.clip.modules()):
        return  # an evaluation after the training
    sizes = (trainer.num_nodes, trainer.num_devices)
    mesh = init_device_mesh(trainer.strategy.root_device.type, sizes, mesh_dim_names=("machine", "device"))["device"]
    with net.bare():  # or its hooks would come before those of the prompts
        for tower in net.backbone.towers.values():
            for block in tower.blocks:
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
            # The rest, above all the table of the text tokens, would be fetched whole for the whole tower: it stays on each
            # device. That a tower is a unit lets its blocks fetch ahead.
            rest = {weight for weight in tower.module.parameters() if not isinstance(weight, DTensor)}
            fully_shard(tower.module, mesh=mesh, ignored_params=rest)
    parts = [name for name, weight in module.named_parameters() if isinstance(weight, DTensor)]
    ignore_in_ddp(module, parts)
    for loop in (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop, trainer.predict_loop):
        loop.inference_mode = False  # what is fetched in it could not be trained with afterwards
