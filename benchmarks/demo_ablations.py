"""Train the demo with every part and without each of them, over several seeds, and print what each part is worth.

python benchmarks/demo_ablations.py [--seeds 3] [--name demo_ablations] [--jobs 1] [--threads 2] [OPTION of peclip fit ...]

Each training is a `peclip fit --config demo --config ablations/NAME`. Those that are finished are not repeated, and one that was
interrupted resumes: run the same command again. The table is printed at the end, of the seeds for which all variants are finished; --table
prints it and trains nothing.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peclip.results.bootstrap import DRAWS, SEED, Outcomes, interval, observed, resample
from peclip.results.entries import read_entries
from peclip.results.evaluation import read_evaluation
from peclip.results.tables import markdown_table

VARIANTS = {
    "": None,
    "TDA": "ablations/no_tda",
    "ShA": "ablations/no_sha",
    "text adapter": "ablations/no_ta",
    "prompts": "ablations/no_maple",
}
"""The recipe that takes a part out, by the part."""


@dataclass(frozen=True)
class Row:
    """A variant: its rate over the seeds in percent, and what taking the part out costs in percentage points.

    Attributes:
        without: the part that is taken out; empty for the full model.
        war: mean over the seeds.
        std: standard deviation over the seeds; 0 for one.
        low: lower end of the 95 % interval of the mean.
        high: its upper end.
        cost: mean difference of the full model to this one, with the ends of its interval; None for the full model.
    """

    without: str
    war: float
    std: float
    low: float
    high: float
    cost: tuple[float, float, float] | None


def main() -> None:
    """Train what is not finished, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", default="demo_ablations", help="of the folder in runs/")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=2, help="of every training")
    parser.add_argument(
        "--table", action="store_true", help="print the table of the finished trainings, and train nothing"
    )
    options, given = parser.parse_known_args()
    out = Path("runs", options.name)
    every = [(name, seed) for seed in range(options.seeds) for name in VARIANTS]
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = [
            pool.submit(train, out, name, seed, options.threads, given)
            for name, seed in every
            if not options.table and not is_finished(folder_of(out, name, seed))
        ]
        for training in waiting:
            training.result()
    show(out, options.seeds)


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Return the folder of a variant's run."""
    return out / f"{(VARIANTS[name] or 'full').rpartition('/')[2]}_seed{seed}" / "version_0"


def is_finished(folder: Path) -> bool:
    """Return whether a run has been tested."""
    return (folder / "metrics.json").exists()


def train(out: Path, name: str, seed: int, threads: int, given: list[str]) -> None:
    """Train and test a variant, and print the processor time that it took.

    Raises:
        SystemExit: it failed.
    """
    folder = folder_of(out, name, seed)
    recipe = ["--config", VARIANTS[name]] if VARIANTS[name] else []
    run = ["--name", f"{out.name}/{folder.parent.name}", "--seed_everything", seed, "--ckpt_path", "last"]
    words = ["fit", "--config", "demo", *recipe, *run, *given]
    command = [sys.executable, "-m", "peclip", *map(str, words)]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}) as process:
        _, status, usage = os.wait4(process.pid, 0)  # with the time of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"peclip {' '.join(command[3:])} failed")
    print(f"{folder}: {usage.ru_utime + usage.ru_stime:.0f} s of processor time", flush=True)


def show(out: Path, seeds: int) -> None:
    """Print the table of the seeds for which all variants are finished."""
    whole = [seed for seed in range(seeds) if all(is_finished(folder_of(out, name, seed)) for name in VARIANTS)]
    if not whole:
        raise SystemExit(f"{out}: no seed for which all variants are finished")
    rows = table(out, whole)
    zero_shot = read_evaluation(folder_of(out, "", whole[0])).metrics.zero_shot
    header = ["without", "WAR", "standard deviation", "95 % interval", "costs", "95 % interval"]
    cells = [
        [
            row.without or "nothing",
            f"{row.war:.1f} %",
            f"{row.std:.1f}",
            f"{row.low:.1f} to {row.high:.1f}",
            *(("", "") if row.cost is None else (f"{row.cost[0]:.1f}", f"{row.cost[1]:.1f} to {row.cost[2]:.1f}")),
        ]
        for row in rows
    ]
    print(markdown_table((header, cells)))
    print(f"Seeds {', '.join(map(str, whole))}; zero-shot CLIP {100 * zero_shot.war:.1f} %." if zero_shot else "")


def table(out: Path, seeds: list[int]) -> list[Row]:
    """Return a row for each variant; the intervals are over test clips and seeds, drawn for all variants alike."""
    runs = [str(folder_of(out, name, seed)) for name in VARIANTS for seed in seeds]
    tests = [next(iter(entry.tests.values())) for entry in read_entries(runs)]
    outcomes = Outcomes(tests[0].truth, np.stack([test.truth == test.predicted for test in tests]))
    shape = (-1, len(VARIANTS), len(seeds))
    classes = len(tests[0].labels)
    seen = 100 * observed([outcomes], classes).war.reshape(shape)[0]
    drawn = 100 * resample([outcomes], classes).war.reshape(shape)
    which = np.random.default_rng(SEED).integers(len(seeds), size=(DRAWS, 1, len(seeds)))
    means = np.take_along_axis(drawn, which, axis=2).mean(axis=2)
    return [_row(name, seen, means, place) for place, name in enumerate(VARIANTS)]


def _row(name: str, seen: np.ndarray, means: np.ndarray, place: int) -> Row:
    """Return the row of a variant from the rates (V, S) and the drawn means (N, V)."""
    std = float(seen[place].std(ddof=1)) if seen.shape[1] > 1 else 0.0
    low, high = interval(means[:, place]) or (0.0, 0.0)
    cost = None
    if place:
        ends = interval(means[:, 0] - means[:, place]) or (0.0, 0.0)
        cost = (float((seen[0] - seen[place]).mean()), *ends)
    return Row(name, float(seen[place].mean()), std, low, high, cost)


if __name__ == "__main__":
    main()
