"""Where a run is, and the configuration that it leaves there."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

RUNS = "runs"


class SaveConfig(SaveConfigCallback):
    """Saves the configuration of a run with the labels that the data gave, so that it stands on its own."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Complete the configuration and save it."""
        self.config.data.labels = trainer.datamodule.labels
        # Where this run lives is no option of the next one.
        loggers, own = self.config.trainer.logger, own_logger(self.config)
        if isinstance(loggers, list):
            self.config.trainer.logger = [logger for logger in loggers if logger != own] or None
        self.config.folder = self.config.ckpt_path = None
        super().setup(trainer, pl_module, stage)


def own_logger(config: Namespace) -> Namespace:
    """Return the logger that puts a run into its folder, in the form that it has in a configuration."""
    place = Namespace(save_dir=RUNS, name=config.name)
    if config.folder:
        folder = Path(config.folder)
        place = Namespace(save_dir=str(folder.parent), name="", version=folder.name)
    return Namespace(class_path=f"{CSVLogger.__module__}.{CSVLogger.__name__}", init_args=place)
