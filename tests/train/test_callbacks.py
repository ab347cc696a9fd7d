"""The output and the files of a run."""

import csv
import fcntl
import json
import math
import os
import pty
import re
import struct
import termios
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from peclip.data.manifest import Manifest
from peclip.model import PEClip, read_trained
from peclip.model.arithmetic import clip_flops
from peclip.results.evaluation import _read_predictions
from peclip.train.callbacks.finite_loss import FiniteLoss
from peclip.train.callbacks.predictions import write_csv
from peclip.train.evaluation import Outputs
from peclip.train.module import PEClipModule
from peclip.train.parameters import trainable_parts
from tests.model.small import build
from tests.runs import LABELS, run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cells(text):
    """The cells of a printed table by the first of each row."""
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines() if line[:1] in "│┃"]
    return {row[0]: row[1:] for row in rows if row}


@pytest.fixture(scope="module")
def shown(tmp_path_factory, tiny_config):
    """Return the output of a run to a file, in a writable folder."""
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "160")
        result = run("fit", "--config", tiny_config)
    assert result.status == 0, result.err
    return folder, result


# --- on the screen ---


def test_the_summary_tells_what_is_trainable_where_and_how_much(shown):
    table = cells(shown[1].out)
    net = PEClip.from_trained(read_trained(shown[0] / "runs/tiny/version_0"))
    counts = {
        ("TemporalDynamicAdapter", "vision.mlp"): net.adapters["vision"]["mlp"],
        ("TextAdapter", "text.mlp"): net.adapters["text"]["mlp"],
        ("MaPLe", "both towers"): net.prompts,
    }
    for (name, where), part in counts.items():
        count = sum(weight.numel() for weight in part.parameters())
        total = sum(weight.numel() for weight in net.parameters())
        assert table[name] == [where, "2", f"{count:,}", f"{count / total:.2%}"]
    count = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
    assert table["all"] == [f"of {total:,} parameters", "", f"{count:,}", f"{count / total:.2%}"]


def test_the_summary_tells_what_the_clips_are_and_how_the_best_is_chosen(shown):
    assert "9 training, 3 validation, 6 test clips of 3 classes from" in shown[1].out
    assert "3 frames a clip, 32 px, batch 4, precision 32-true, seed 0" in shown[1].out
    assert "chosen on validation clips" in shown[1].out


def test_a_log_has_one_line_an_epoch_with_results_throughput_and_time_left(shown):
    lines = [line for line in shown[1].out.splitlines() if line.startswith("epoch ")]
    pattern = r"epoch {}/2: train/loss [\d.]+ train/war [\d.]+ val/loss [\d.]+ val/war [\d.]+ val/uar [\d.]+, [\d.]+ clips/s.*, \d+ s left"
    assert len(lines) == 2
    assert all(re.fullmatch(pattern.format(number), line) for number, line in enumerate(lines, start=1))


def test_the_results_stand_at_the_end_beside_those_of_bare_clip(shown):
    metrics = json.loads((shown[0] / "runs/tiny/version_0/metrics.json").read_text())
    table = cells(shown[1].out)
    assert table["WAR"] == [f"{metrics['war']:.2%}", f"{metrics['zero_shot']['war']:.2%}"]
    assert table["UAR"] == [f"{metrics['uar']:.2%}", f"{metrics['zero_shot']['uar']:.2%}"]
    assert shown[1].out.rstrip().endswith("The run is in runs/tiny/version_0")


def test_a_run_writes_nothing_to_stderr(shown):
    assert shown[1].err == ""


def test_a_terminal_shows_progress_with_throughput_and_time_left(tmp_path, tiny_config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    pieces = []

    def watch():
        try:
            while piece := os.read(controller, 65536):
                pieces.append(piece)
        except OSError:  # Linux says so when the terminal is closed
            pass

    reader = threading.Thread(target=watch)
    reader.start()
    with open(terminal, "w") as stdout:
        result = run("fit", "--config", tiny_config, "--trainer.max_epochs", "1", terminal=stdout)
    reader.join(timeout=30)
    os.close(controller)
    text = b"".join(pieces).decode(errors="replace")
    assert result.status == 0, result.err
    assert re.search(r"clips/s: ?[\d.]+", text)
    assert re.search(r"Epoch 0/0", text)
    assert re.search(r"3/3.*\d:\d\d:\d\d", text)  # batches, and the time gone and left
    assert not re.search(r"^epoch 1/1", text, re.MULTILINE)


# --- in the run's folder ---


def test_a_run_leaves_its_files_and_nothing_half_written(tiny_run):
    files = {str(path.relative_to(tiny_run)) for path in tiny_run.rglob("*") if path.is_file()}
    assert files == {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "config.yaml",
        "confusion.csv",
        "confusion.png",
        "metrics.csv",
        "metrics.json",
        "predictions.csv",
        "training.json",
    }


def test_metrics_are_those_of_the_best_checkpoint_on_the_test_clips(tiny_run):
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert {"split", "clips", "war", "uar", "per_class_recall", "selection", "zero_shot"} <= metrics.keys()
    assert metrics["flops"] == clip_flops(PEClip.from_pretrained(tiny_run))
    assert (metrics["split"], metrics["selection"], metrics["clips"]) == ("test", "validation", 6)
    assert list(metrics["per_class_recall"]) == list(LABELS)
    for scores in (metrics, metrics["zero_shot"]):
        assert {"clips", "war", "uar", "per_class_recall"} <= scores.keys()
        # Every class has two clips, so both are the mean of the recalls.
        mean = sum(scores["per_class_recall"].values()) / 3
        assert scores["war"] == pytest.approx(mean)
        assert scores["uar"] == pytest.approx(mean)


def test_the_confusion_matrix_counts_every_test_clip_once(tiny_run):
    rows = rows_of(tiny_run / "confusion.csv")
    assert [row["truth"] for row in rows] == list(LABELS)
    counts = np.array([[int(row[label]) for label in LABELS] for row in rows])
    assert counts.sum(axis=1).tolist() == [2, 2, 2]
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert counts.trace() / 6 == pytest.approx(metrics["war"])


def test_the_confusion_matrix_is_a_picture_too(tiny_run):
    with Image.open(tiny_run / "confusion.png") as image:
        assert image.format == "PNG"
        assert min(image.size) >= 300
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50


def test_every_step_and_epoch_is_in_metrics_csv(tiny_run):
    rows = rows_of(tiny_run / "metrics.csv")
    assert len([row for row in rows if row["train/loss"]]) == 6
    assert len([row for row in rows if row["val/war"] and row["val/uar"] and row["val/recall/anger"]]) == 2
    assert len([row for row in rows if row["test/war"] and row["zero_shot/war"]]) == 1
    assert len([row for row in rows if row["lr/adapters"] and row["lr/prompts"]]) == 6


def test_predictions_have_a_row_a_clip_with_its_label_and_probabilities(tmp_path, tiny_run, tiny_data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(
        "predict", "--ckpt_path", tiny_run / "checkpoints" / "best.ckpt", "--data.predict", "all", "--out", "new"
    )
    assert result.status == 0, result.err
    assert result.err == ""
    table = tmp_path / "new" / "predictions.csv"
    rows = rows_of(table)
    manifest = rows_of(tiny_data)
    assert [row["path"] for row in rows] == [row["path"] for row in manifest]
    assert list(rows[0]) == ["path", "predicted", *LABELS]
    for row in rows:
        probabilities = [float(row[label]) for label in LABELS]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == LABELS[int(np.argmax(probabilities))]
    assert f"18 clips: {table.relative_to(tmp_path)}" in result.out


def test_predictions_for_files_with_odd_names_are_read_back(tmp_path):
    names = ["=a.mp4", "b\udcff.mp4", "c,d.mp4"]
    table = written(tmp_path, {"path": names, "start": None, "end": None, "label": LABELS})
    assert table.read_bytes().splitlines()[1].startswith(b"./=a.mp4,happiness,")
    labels, clips, truth, predicted = _read_predictions(table)
    assert (list(labels), [clip.path for clip in clips]) == (list(LABELS), names)
    assert truth.tolist() == predicted.tolist() == [0, 1, 2]


def written(folder, columns):
    table = folder / "predictions.csv"
    clips = Manifest(pd.DataFrame(columns, dtype=object), folder, folder)
    write_csv(table, clips, LABELS, Outputs(torch.arange(3), torch.eye(3)), truth=True)
    return table


def test_predictions_of_pieces_of_videos_say_which_and_are_read_back(tmp_path):
    pieces = {"path": ["a.mp4"] * 3, "start": [None, 0.04, 12.0], "end": [2.5, 12.0, None], "label": LABELS}
    table = written(tmp_path, pieces)
    rows = [line.split(",")[:4] for line in table.read_text().splitlines()]
    assert rows[:3] == [
        ["path", "start", "end", "label"],
        ["a.mp4", "", "2.5", LABELS[0]],
        ["a.mp4", "0.04", "12.0", LABELS[1]],
    ]
    _, clips, _, _ = _read_predictions(table)
    assert clips == (("a.mp4", 0.0, 2.5), ("a.mp4", 0.04, 12.0), ("a.mp4", 12.0, math.inf))


def test_the_trainable_parts_of_a_model_without_prompts_are_its_adapters(tiny_clip):
    module = PEClipModule(build(tiny_clip, prompts=None, labels=LABELS))
    parts = trainable_parts(module.net)
    assert [where for _, where, *_ in parts] == ["vision.attention", "vision.mlp", "text.attention", "text.mlp"]
    assert sum(count for *_, count in parts) == sum(w.numel() for w in module.parameters() if w.requires_grad)


def test_the_summary_says_that_the_training_war_is_approximate_where_clips_are_mixed(shown):
    assert "train/war is approximate: a mixed clip counts by the label with the larger share." in shown[1].out


def test_a_step_that_a_module_of_ones_own_skips_has_no_loss_to_check():
    trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])])
    callback = FiniteLoss()
    callback.on_train_batch_start(trainer, None, None, 0)
    callback.on_train_batch_end(trainer, None, {}, None, 0)
    callback.on_train_end(trainer, None)
