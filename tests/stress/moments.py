"""Interrupt a run at every moment: ``python -m tests.stress.moments [--max_steps 8]``; half an hour on two cores.

A run of ten steps validates and writes a checkpoint every two steps. It is killed before each step, validation batch, row of
metrics.csv, rename and write, and asked to end at each step and validation batch; resumed, its results are to be equal to the
byte. With --max_steps its end is counted in steps, and may lie within an epoch. Options of ``peclip fit`` may follow, and fewer
moments take minutes: ``python -m tests.stress.moments --only step --every 2 -- --trainer.accumulate_grad_batches 3``.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from peclip.train.cluster.signals import TERMINATED
from tests.conftest import write_tiny_clip
from tests.processes import AtCall, in_a_process, send
from tests.runs import write_config, write_data
from tests.stress.killed import on_a_fast_disk, outcome

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

ASKED = ("step", "validation batch")
"""Moments at which the run is also asked to end."""


def run_options(folder: Path, max_steps: int | None, more: Sequence[str] = ()) -> list[str]:
    """Write the data of the run into a folder, and return its command line.

    Args:
        folder: an empty folder.
        max_steps: number of steps after which it ends; None for two epochs.
        more: further options of ``peclip fit``.
    """
    config = write_config(folder / "tiny.yaml", write_tiny_clip(folder / "clip"), write_data(folder / "data"))
    limit = {"max_epochs": 2} if max_steps is None else {"max_epochs": -1, "max_steps": max_steps}
    values = {f"trainer.{name}": value for name, value in limit.items()}
    values |= {"data.batch_size": 2, "last.every_n_steps": 2, "trainer.val_check_interval": 2}
    given = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return ["fit", "--config", str(config), "--model.zero_shot", "false", *given, *more]


def differences(
    folder: Path, options: list[str], whole: dict[str, str], name: str, number: signal.Signals, every: int = 1
) -> Iterator[str]:
    """Interrupt a run before each ``every``-th call of a function, and resume it; yield what differs, empty if nothing does.

    Args:
        folder: where the runs are written.
        options: command line of the run.
        whole: results of the run that was not interrupted, see :func:`tests.stress.killed.outcome`.
        name: key of :data:`MOMENTS`.
        number: signal that the run gets.
        every: 1 for each call.
    """
    call = 1
    while True:
        place = folder / f"{number.name} {name} {call}"
        before = partial(on_a_fast_disk, AtCall(MOMENTS[name], call, partial(send, number)))
        status, err = in_a_process(place, options, before)
        if not status:
            return  # there is no such call
        assert status in (-signal.SIGKILL, TERMINATED), err
        _, err = in_a_process(place, [*options, "--ckpt_path", "last"])
        found = [outcome(path.parent) for path in place.glob("runs/tiny/*/metrics.json")]
        names = {name for each in found for name, _ in each.items() ^ whole.items()} if found else {"no results"}
        said = ", ".join(sorted(names) + err.splitlines()[-1:])
        yield f"{call}: {said}" if said else ""
        call += every


def main() -> None:
    """Print a line for each kind of moment, and one for each difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max_steps", type=int, default=None)
    parser.add_argument("--only", choices=MOMENTS, nargs="+", default=[*MOMENTS], help="kinds of moments")
    parser.add_argument("--every", type=int, default=1, help="2 for every second moment, and so on")
    parser.add_argument("options", nargs="*", help="further options of peclip fit, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = run_options(folder, args.max_steps, args.options)
        status, err = in_a_process(folder / "whole", options)
        assert status == 0, err
        whole = outcome(folder / "whole/runs/tiny/version_0")
        asked = [(kind, signal.SIGTERM) for kind in args.only if kind in ASKED]
        for kind, number in [*((kind, signal.SIGKILL) for kind in args.only), *asked]:
            found = [*differences(folder, options, whole, kind, number, args.every)]
            differing = [difference for difference in found if difference]
            print(f"{number.name} before each {kind}: {len(found)} times, {len(differing)} differ", flush=True)
            for difference in differing:
                print(f"  {difference}", flush=True)


if __name__ == "__main__":
    main()
