"""Interrupt a run at every moment: ``python -m tests.stress.moments [--max_steps 8]``; half an hour on two cores.

A run of ten steps validates and writes a checkpoint every two steps. It is killed before each step, validation batch, row of
metrics.csv, rename and write, and asked to end at each step and validation batch; resumed, its results are to be equal to the
byte. With --max_steps its end is counted in steps, and may lie within an epoch.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from functools import partial
from pathlib import Path

from tests.conftest import write_tiny_clip
from tests.processes import AtCall, in_a_process, send
from tests.runs import write_config, write_data
from tests.stress.killed import outcome

MODULE = "peclip.train.module:PEClipModule"

MOMENTS = {
    "step": f"{MODULE}.training_step",
    "validation batch": f"{MODULE}.validation_step",
    "test batch": f"{MODULE}.test_step",
    "row": "lightning.pytorch.loggers:CSVLogger.log_metrics",
    "rename": "os:replace",
    "write": "os:fsync",
}
"""Functions before whose calls the run is interrupted."""


def interruptions(folder: Path, options: list[str], name: str, number: signal.Signals) -> tuple[int, list[int]]:
    """Interrupt a run at every call of a function; return how often, and the calls after which the results differ."""
    done, differing = 0, []
    status, err = in_a_process(folder / "whole", options)
    assert status == 0, err
    whole = outcome(folder / "whole/runs/tiny/version_0")
    while True:
        place = folder / f"{number.name} {name} {done + 1}"
        if not in_a_process(place, options, AtCall(MOMENTS[name], done + 1, partial(send, number)))[0]:
            return done, differing  # there is no such call
        done += 1
        status, _ = in_a_process(place, [*options, "--ckpt_path", "last"])
        finished = [path.parent for path in place.glob("runs/tiny/*/metrics.json")]
        if status or [outcome(run) for run in finished] != [whole]:
            differing.append(done)


def main() -> None:
    """Print a line for each kind of moment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max_steps", type=int, default=None)
    steps = parser.parse_args().max_steps
    limit = {"trainer.max_epochs": 2} if steps is None else {"trainer.max_epochs": -1, "trainer.max_steps": steps}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder / "tiny.yaml", write_tiny_clip(folder / "clip"), write_data(folder / "data"))
        values = {
            **limit,
            "data.batch_size": 2,
            "last.every_n_steps": 2,
            "trainer.val_check_interval": 2,
        }
        options = ["fit", "--config", str(config), "--model.zero_shot", "false"]
        options += [word for name, value in values.items() for word in (f"--{name}", str(value))]
        asked = {"step": signal.SIGTERM, "validation batch": signal.SIGTERM}
        for kind, number in [*((kind, signal.SIGKILL) for kind in MOMENTS), *asked.items()]:
            done, differing = interruptions(folder / f"{kind} {number.name}", options, kind, number)
            print(
                f"{number.name} before each {kind}: {done} times, other results after {differing or 'none'}", flush=True
            )


if __name__ == "__main__":
    main()
