"""Folders with what an evaluation leaves behind, without a training."""

from unittest.mock import patch

import numpy as np

from peclip.results.evaluation import Metrics, write_evaluation
from peclip.results.scores import scores
from peclip.results.training import Training, write_training
from tests.runs import save_blank

LABELS = ["happiness", "sadness", "anger"]


def write_run(folder, truth, predicted, labels=LABELS, seconds=90.0, paths=None, pieces=None, **known):
    """Write the files of a run that was tested on clips with these true and predicted classes, given by index.

    With pieces, a text such as "0.0,2.0" for each clip, they are pieces of the videos.

    Its picture is blank: drawing it takes most of the time, and tests of pictures draw their own.
    """
    folder.mkdir(parents=True)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    known = {"split": "test", "selection": "validation", "trainable": 7714, "parameters": 79587} | known
    with patch("peclip.results.evaluation.draw_confusion", lambda target, *_: save_blank(None, target)):
        write_evaluation(folder, Metrics(scores=scores(confusion, labels), **known))
    paths = paths or [f"{index:03d}.mp4" for index in range(len(truth))]
    columns = "path,start,end,label,predicted" if pieces else "path,label,predicted"
    clips = [",".join(clip) for clip in zip(paths, pieces, strict=True)] if pieces else paths
    rows = [
        ",".join([clip, labels[one], labels[other], *["0.5"] * len(labels)])
        for clip, one, other in zip(clips, truth, predicted, strict=True)
    ]
    (folder / "predictions.csv").write_text("\n".join([",".join([columns, *labels]), *rows]) + "\n")
    if seconds is not None:
        write_training(folder, Training(seconds, epochs=2, device="cpu", devices=1))
    return folder


def outcomes(clips, accuracy, seed=0, classes=3):
    """True and predicted classes of so many clips, of which about a share is recognized."""
    rng = np.random.default_rng(seed)
    truth = np.arange(clips) % classes
    return truth, np.where(rng.random(clips) < accuracy, truth, (truth + rng.integers(1, classes, clips)) % classes)
