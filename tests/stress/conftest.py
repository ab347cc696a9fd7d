"""The training that tests of this folder kill, and resume."""

import pytest


@pytest.fixture(scope="module")
def options(tiny_config):
    """Two epochs of 5 steps, two clips a batch, with a checkpoint every two steps."""
    values = {"trainer.max_epochs": 2, "data.batch_size": 2, "last.every_n_steps": 2, "model.warmup_epochs": 1}
    given = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return ["fit", "--config", str(tiny_config), *given]
