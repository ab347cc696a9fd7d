"""Folders with what an evaluation leaves behind, without a training."""

import json

import numpy as np

from peclip.results.report import write_report
from peclip.results.scores import scores

LABELS = ["happiness", "sadness", "anger"]


def write_run(folder, truth, predicted, labels=LABELS, seconds=90.0, selection="validation", paths=None):
    """Write the files of a run that was tested on clips with these true and predicted classes, given by index."""
    folder.mkdir(parents=True)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    head = {"split": "test", "selection": selection, "benchmark": None, "fold": None}
    write_report(folder, scores(confusion, labels), head | {"trainable": 7714, "parameters": 79587}, None)
    paths = paths or [f"{index:03d}.mp4" for index in range(len(truth))]
    rows = [
        ",".join([path, labels[one], labels[other], *["0.5"] * len(labels)])
        for path, one, other in zip(paths, truth, predicted, strict=True)
    ]
    (folder / "predictions.csv").write_text("\n".join([",".join(["path,label,predicted", *labels]), *rows]) + "\n")
    if seconds is not None:
        content = {"seconds": seconds, "epochs": 2, "device": "cpu", "devices": 1}
        (folder / "training.json").write_text(json.dumps(content))
    return folder


def outcomes(clips, accuracy, seed=0, classes=3):
    """True and predicted classes of so many clips, of which about a share is recognised."""
    rng = np.random.default_rng(seed)
    truth = np.arange(clips) % classes
    return truth, np.where(rng.random(clips) < accuracy, truth, (truth + rng.integers(1, classes, clips)) % classes)
