"""Draws the pictures of docs/gallery from a run of the demo.

python tools/draw_gallery.py runs/demo/version_0 data/demo/.../manifest.csv docs/gallery

The commands and functions that draw them are those of every user; only the curves of the training are drawn here.
"""

import contextlib
import csv
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from draw_contact_sheet import main as draw_contact_sheet
from PIL import Image

from peclip.cli import main as peclip
from peclip.inference.app.examples import EXAMPLES, write_example
from peclip.results.calibration import calibration, draw_calibration
from peclip.results.evaluation import read_evaluation
from peclip.results.figures import new_figure, save

BLUE, ORANGE = "#0072b2", "#d55e00"
"""Two of Okabe and Ito's colours, which people with any colour blindness distinguish; solid and dashed lines differ as well."""


OF_MANY_COLOURS = "explanation.png"
"""The picture whose photographs and heat leave no room for the labels' colours in a palette of 256."""


def main(run: Path, manifest: Path, out: Path) -> None:
    """Draw all pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    draw_contact_sheet(out / "faces.png")
    draw_training(run / "metrics.csv", out / "training.png")
    shutil.copy(run / "confusion.png", out / "confusion.png")
    found = read_evaluation(run)
    table = pd.read_csv(run / "predictions.csv")
    probabilities = table[list(found.labels)].to_numpy()
    draw_calibration(out / "calibration.png", calibration(probabilities, found.truth), f"{len(table)} test clips")
    run, manifest, out = (path.resolve() for path in (run, manifest, out))
    clip = manifest.parent / table.path[table.label == "happiness"].iloc[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
    ):  # titles name files without this machine's folders
        film = Path(EXAMPLES[1].file)
        write_example(film, EXAMPLES[1])
        peclip(["recognize", str(film), "--model", str(run), "--faces", "none", "--out", "recognized"])
        shutil.copy(next(Path("recognized").glob("*.png")), out / "timeline.png")
        shutil.copy(clip, "happiness.mp4")
        peclip(["explain", "happiness.mp4", "--model", str(run), "--out", "explained"])
        shutil.copy(next(Path("explained").rglob("*.png")), out / "explanation.png")
        peclip(["embed", str(manifest), "--model", str(run), "--out", "features", "--num_workers", "0"])
        shutil.copy(next(Path("features").glob("*.png")), out / "embedding.png")
    for picture in out.glob("*.png"):
        if picture.name != OF_MANY_COLOURS:
            Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)


def draw_training(metrics: Path, target: Path) -> None:
    """Draw loss and WAR of training and validation over the epochs."""
    with metrics.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = new_figure(9, 3.5)
    for axes, name, label in zip(figure.subplots(1, 2), ("loss", "war"), ("cross entropy", "WAR"), strict=True):
        trained = f"train/{name}_epoch" if name == "loss" else f"train/{name}"
        for column, text, colour, line in (
            (trained, "training", BLUE, "-"),
            (f"val/{name}", "validation", ORANGE, "--"),
        ):
            points = [(int(row["epoch"]) + 1, float(row[column])) for row in rows if row.get(column)]
            axes.plot(*np.transpose(points), line, color=colour, marker="o", label=text)
        axes.set(xlabel="epoch", ylabel=label)
        axes.legend(frameon=False)
    if name == "war":
        axes.set_ylim(0, 1)
    save(figure, target)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
