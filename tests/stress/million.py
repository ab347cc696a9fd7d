"""A prediction of very many clips in shards, and the memory that it takes: a tiny model, and clips that nobody has to decode.

python -m tests.stress.million --rows 10000 100000 1000000 prints the table of docs/BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from pyarrow import parquet

from peclip.data import datamodule, dataset
from peclip.data.batch import Draw
from peclip.data.dataset import ClipDataset
from peclip.train.module import PEClipModule
from tests.conftest import write_tiny_clip
from tests.processes import descendants, in_a_process
from tests.runs import LABELS, write_config

BATCH = 1000

KINDS = 251
"""Clips that differ; the others are the same again."""

FIGURES = "figures.json"


class Figures(NamedTuple):
    """Time and memory of a prediction.

    Attributes:
        rows: of the manifest.
        seconds: of the prediction, reading the manifest included.
        processes: that predict and read.
        early: MB that they have written after a tenth of the clips, pages that they share counted in each.
        middle: after half of them.
        late: at the last one.
        peak: MB of the predicting process, files that it maps included, at its highest.
    """

    rows: int
    seconds: float
    processes: int
    early: int
    middle: int
    late: int
    peak: int


def write_manifest(path: Path, rows: int) -> Path:
    """Write a manifest of clips that are not there, with paths as long as they usually are."""
    with path.open("w") as file:
        file.write("path\n")
        file.writelines(f"faces/{number // 1000:04d}/clip_{number:08d}.mp4\n" for number in range(rows))
    return path


@cache
def random_clip(number: int, num_frames: int, size: int) -> torch.Tensor:
    """Return one of a few clips, uint8 (T, 3, S, S), of random pixels."""
    pixels = torch.Generator().manual_seed(number)
    return torch.randint(256, (num_frames, 3, size, size), generator=pixels, dtype=torch.uint8)


def no_decoder(path: Path | str, num_frames: int, size: int, **options: object) -> torch.Tensor:
    """Return a clip that depends on the number in its name, in the place of the decoder."""
    return random_clip(int(re.search(r"(\d+)\.mp4", str(path))[1]) % KINDS, num_frames, size)


class NoDecoder(ClipDataset):
    """Clips that nobody has to decode, in whichever process they are read."""

    def __getitem__(self, draw: Draw) -> object:
        dataset.read_clip = no_decoder
        return super().__getitem__(draw)


def processes() -> list[Path]:
    """Return the entries in /proc of this process and those below it."""
    return [Path("/proc") / str(process) for process in [os.getpid(), *descendants(os.getpid())]]


def megabytes(file: Path, name: str) -> float:
    """Return an entry of a file of the system."""
    return int(re.search(rf"{name}:\s+(\d+)", file.read_text())[1]) / 1024


def measured(folder: Path, rows: int) -> None:
    """Let a prediction write its figures into a folder."""
    datamodule.ClipDataset = NoDecoder
    since, step, held = time.monotonic(), PEClipModule.predict_step, []
    batches = -(-rows // BATCH)

    def predict_step(self, batch, batch_idx):
        if batch_idx in (batches // 10, batches // 2, batches - 1):
            held.append(sum(megabytes(process / "smaps_rollup", "Anonymous") for process in processes()))
        if batch_idx == batches - 1:
            peak = megabytes(Path("/proc/self/status"), "VmHWM")
            took = round(time.monotonic() - since, 1)
            (folder / FIGURES).write_text(json.dumps([rows, took, len(processes()), *map(round, [*held, peak])]))
        return step(self, batch, batch_idx)

    PEClipModule.predict_step = predict_step


def predict(folder: Path, clip: Path, rows: int, workers: int) -> Figures:
    """Predict so many clips in a new process, and check that each is there once with its own values."""
    folder.mkdir()
    manifest = write_manifest(folder / "manifest.csv", rows)
    config = write_config(folder / "tiny.yaml", clip, manifest)
    options = {"data.labels": json.dumps(LABELS), "data.num_workers": workers, "data.num_frames": 1, "model.net.num_frames": 1,
               "data.eval_batch_size": BATCH, "shards": "shards"}  # fmt: skip
    args = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    before = partial(measured, folder, rows)
    status, err = in_a_process(folder, ["predict", "--config", str(config), *args], before, limit=6 * 3600)
    assert (status, err) == (0, ""), err
    check(folder / "shards", rows)
    return Figures(*json.loads((folder / FIGURES).read_text()))


def check(folder: Path, rows: int) -> None:
    """Check that all clips are there once, in order, and that those that are the same have the same result."""
    assert json.loads((folder / "shards.json").read_text())["rows"] == rows
    number, results = 0, {}
    for shard in sorted(folder.glob("shard-*.parquet")):
        table = parquet.ParquetFile(shard).read()
        for path, score in zip(table["path"].to_pylist(), table[LABELS[0]].to_pylist(), strict=True):
            assert path == f"faces/{number // 1000:04d}/clip_{number:08d}.mp4"
            assert abs(results.setdefault(number % KINDS, score) - score) < 1e-6
            number += 1
    assert number == rows
    assert len(set(results.values())) > len(results) // 2


def measure(folder: Path, rows: Sequence[int], workers: int) -> Iterator[Figures]:
    """Predict manifests of several lengths, each in a process of its own."""
    clip = write_tiny_clip(folder / "clip")
    return (predict(folder / str(count), clip, count, workers) for count in rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print("| clips | seconds | processes | MB after a tenth | after half | at the end | peak of the main process, MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for entry in measure(Path(name), options.rows, options.workers):
            print(f"| {entry.rows:,} | {' | '.join(f'{value:,}' for value in entry[1:])} |", flush=True)


if __name__ == "__main__":
    main()
