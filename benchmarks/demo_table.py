"""Train variants of the demo over several seeds, and print what each of them reaches.

python benchmarks/demo_table.py ablations|parts [--seeds 3] [--name NAME] [--jobs 1] [--threads 2] [OPTION of peclip fit ...]

``ablations`` takes each part of PE-CLIP out; ``parts`` puts parts of other papers in place of PE-CLIP's, of about its number of parameters
where a part has a size to choose. Each training is a `peclip fit --config demo`, with the same epochs, batches and learning rates for all.
Those that are finished are not repeated, and one that was interrupted resumes: run the same command again. The table is printed at the end,
of the seeds for which all variants are finished; --no_training prints it and trains nothing.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peclip.results.bootstrap import BOOTSTRAP_SEED, DRAWS, Outcomes, interval, observed, resample
from peclip.results.entries import read_entries
from peclip.results.evaluation import read_evaluation
from peclip.results.formatting import markdown_table


@dataclass(frozen=True)
class Variant:
    """One way to train the demo.

    Attributes:
        shown: its name in the table.
        folder: the start of its folder's name.
        options: of `peclip fit`, beside the recipe of the demo.
    """

    shown: str
    folder: str
    options: tuple[str, ...] = ()


def recipe(shown: str, name: str, *further: str) -> Variant:
    """Return the variant that a recipe makes, with further options."""
    return Variant(shown, name.rpartition("/")[2], ("--config", name, *further))


WIDE_ADAPTFORMER = "{vision.mlp: {class_path: peclip.model.AdaptFormer, init_args: {hidden: 146}}}"

TABLES = {
    "ablations": (
        Variant("nothing", "full"),
        recipe("TDA", "ablations/no_tda"),
        recipe("ShA", "ablations/no_sha"),
        recipe("text adapter", "ablations/no_ta"),
        recipe("prompts", "ablations/no_maple"),
    ),
    "parts": (
        Variant("PE-CLIP", "full"),
        recipe("TDA alone", "parts/tda"),
        recipe(
            "LoRA, rank 44",
            "parts/lora",
            *["--model.net.peft.init_args.r", "44", "--model.net.peft.init_args.lora_alpha", "88"],
        ),
        recipe("AdaptFormer, 146 wide", "parts/adaptformer", "--model.net.adapters", WIDE_ADAPTFORMER),
        recipe("ST-Adapter", "parts/st_adapter"),
        recipe("AIM", "parts/aim"),
        recipe("GRU over frames", "parts/gru_head"),
        recipe("transformer over frames", "parts/transformer_head"),
        recipe("attention pooling", "parts/attention_pool"),
        recipe("CoOp, 16 tokens", "parts/coop"),
        recipe("VPT-shallow, 10 tokens", "parts/vpt_shallow"),
        recipe("VPT-deep, 10 tokens", "parts/vpt_deep"),
    ),
}
"""The variants of each table; the first is what the others are compared with."""


@dataclass(frozen=True)
class Row:
    """A variant: its rate over the seeds in percent, and how far it is below the first one in percentage points.

    Attributes:
        variant: the variant.
        trained: parameters.
        war: mean over the seeds.
        std: standard deviation over the seeds; 0 for one.
        low: lower end of the 95 % interval of the mean.
        high: its upper end.
        cost: mean difference of the first variant to this one, with the ends of its interval; None for the first.
    """

    variant: Variant
    trained: int
    war: float
    std: float
    low: float
    high: float
    cost: tuple[float, float, float] | None


def main() -> None:
    """Train what is not finished, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", help="of the folder in runs/; by default demo_ablations or demo_parts")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=2, help="of every training")
    parser.add_argument(
        "--no_training", action="store_true", help="print the table of the finished trainings, and train nothing"
    )
    options, given = parser.parse_known_args()
    out, variants = Path("runs", options.name or f"demo_{options.table}"), TABLES[options.table]
    every = [(variant, seed) for seed in range(options.seeds) for variant in variants]
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = [
            pool.submit(train, out, variant, seed, options.threads, given)
            for variant, seed in every
            if not options.no_training and not is_finished(folder_of(out, variant, seed))
        ]
        for training in waiting:
            training.result()
    show(out, variants, options.seeds)


def folder_of(out: Path, variant: Variant, seed: int) -> Path:
    """Return the folder of a variant's run."""
    return out / f"{variant.folder}_seed{seed}" / "version_0"


def is_finished(folder: Path) -> bool:
    """Return whether a run has been tested."""
    return (folder / "metrics.json").exists()


def train(out: Path, variant: Variant, seed: int, threads: int, given: list[str]) -> None:
    """Train and test a variant, and print the processor time that it took.

    Raises:
        SystemExit: it failed.
    """
    folder = folder_of(out, variant, seed)
    run = ["--name", f"{out.name}/{folder.parent.name}", "--seed_everything", seed, "--ckpt_path", "last"]
    words = ["fit", "--config", "demo", *variant.options, *run, *given]
    command = [sys.executable, "-m", "peclip", *map(str, words)]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}) as process:
        _, status, usage = os.wait4(process.pid, 0)  # with the time of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"peclip {' '.join(command[3:])} failed")
    print(f"{folder}: {usage.ru_utime + usage.ru_stime:.0f} s of processor time", flush=True)


def show(out: Path, variants: Sequence[Variant], seeds: int) -> None:
    """Print the table of the seeds for which all variants are finished."""
    whole = [seed for seed in range(seeds) if all(is_finished(folder_of(out, each, seed)) for each in variants)]
    if not whole:
        raise SystemExit(f"{out}: no seed for which all variants are finished")
    rows = table(out, variants, whole)
    zero_shot = read_evaluation(folder_of(out, variants[0], whole[0])).metrics.zero_shot
    is_ablation = variants == TABLES["ablations"]
    header = ["without" if is_ablation else "part", "trained", "WAR", "standard deviation", "95 % interval"]
    header += ["costs" if is_ablation else "PE-CLIP is ahead by", "95 % interval"]
    cells = [
        [
            row.variant.shown,
            f"{row.trained:,}",
            f"{row.war:.1f} %",
            f"{row.std:.1f}",
            f"{row.low:.1f} to {row.high:.1f}",
            *(("", "") if row.cost is None else (f"{row.cost[0]:.1f}", f"{row.cost[1]:.1f} to {row.cost[2]:.1f}")),
        ]
        for row in rows
    ]
    print(markdown_table((header, cells)))
    print(f"Seeds {', '.join(map(str, whole))}; zero-shot CLIP {100 * zero_shot.war:.1f} %." if zero_shot else "")


def table(out: Path, variants: Sequence[Variant], seeds: list[int]) -> list[Row]:
    """Return a row for each variant; the intervals are over test clips and seeds, drawn for all variants alike."""
    runs = [str(folder_of(out, variant, seed)) for variant in variants for seed in seeds]
    tests = [next(iter(entry.tests.values())) for entry in read_entries(runs)]
    outcomes = Outcomes(tests[0].truth, np.stack([test.truth == test.predicted for test in tests]))
    shape = (-1, len(variants), len(seeds))
    classes = len(tests[0].labels)
    seen = 100 * observed([outcomes], classes).war.reshape(shape)[0]
    drawn = 100 * resample([outcomes], classes).war.reshape(shape)
    which = np.random.default_rng(BOOTSTRAP_SEED).integers(len(seeds), size=(DRAWS, 1, len(seeds)))
    means = np.take_along_axis(drawn, which, axis=2).mean(axis=2)
    trained = [read_evaluation(folder_of(out, variant, seeds[0])).metrics.trainable for variant in variants]
    return [_row(variant, trained[place], seen, means, place) for place, variant in enumerate(variants)]


def _row(variant: Variant, trained: int, seen: np.ndarray, means: np.ndarray, place: int) -> Row:
    """Return the row of a variant from the rates (V, S) and the drawn means (N, V)."""
    std = float(seen[place].std(ddof=1)) if seen.shape[1] > 1 else 0.0
    low, high = interval(means[:, place]) or (0.0, 0.0)
    cost = None
    if place:
        ends = interval(means[:, 0] - means[:, place]) or (0.0, 0.0)
        cost = (float((seen[0] - seen[place]).mean()), *ends)
    return Row(variant, trained, float(seen[place].mean()), std, low, high, cost)


if __name__ == "__main__":
    main()
