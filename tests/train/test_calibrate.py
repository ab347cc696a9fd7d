"""The temperature that a fit leaves with its checkpoints, and what uses it."""

import csv
import json

import numpy as np
import pytest
import torch

from peclip.model import PEClip, read_trained
from peclip.results.calibration import calibrated
from tests.runs import run


@pytest.fixture
def room(tmp_path, monkeypatch, blank_pictures):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def temperature(tiny_run):
    return read_trained(tiny_run).config.temperature


def rows(file):
    with file.open() as opened:
        return list(csv.reader(opened))


def test_a_fit_leaves_the_temperature_with_the_least_loss_on_its_validation_clips(tiny_run, room, temperature):
    assert temperature != 1
    result = run("validate", "--ckpt_path", tiny_run, "--out", "checked")
    found = json.loads((room / "checked/metrics.json").read_text())["calibration"]
    assert found["temperature"] == temperature
    assert found["nll_after"] < found["nll_before"]
    assert "Calibration error (ECE): " in result.out
    net = PEClip.from_pretrained(tiny_run)
    _, *raw = rows(room / "checked/predictions.csv")
    shares = np.array([[float(cell) for cell in row[3:]] for row in raw])
    logits, truth = np.log(shares) * temperature, np.array([net.labels.index(row[1]) for row in raw])
    least = calibrated(logits, truth, temperature).nll_after
    assert least == pytest.approx(found["nll_after"], abs=1e-4)
    assert temperature == 100 or least <= min(
        calibrated(logits, truth, temperature * by).nll_after for by in (0.9, 1.1)
    )


def test_probabilities_are_divided_by_it_and_predictions_stay(tiny_run, room):
    for name, on in (("with", "true"), ("without", "false")):
        assert run("predict", "--ckpt_path", tiny_run, "--out", name, "--model.calibrate", on).status == 0
    with_it, without = (rows(room / name / "predictions.csv")[1:] for name in ("with", "without"))
    assert [row[:2] for row in with_it] == [row[:2] for row in without]
    surest = [max(map(float, row[2:])) for row in with_it]
    assert all(after < max(map(float, before[2:])) for after, before in zip(surest, without, strict=True))


def test_the_report_on_the_test_clips_has_the_error_before_and_after(tiny_run, temperature):
    found = json.loads((tiny_run / "metrics.json").read_text())["calibration"]
    assert found["temperature"] == temperature
    assert found["ece_after"] < found["ece_before"]


def test_a_package_keeps_it_and_a_model_without_one_reads_as_one(tiny_run, tmp_path, temperature):
    net = PEClip.from_pretrained(tiny_run)
    net.save_pretrained(tmp_path / "package")
    again = PEClip.from_pretrained(tmp_path / "package")
    logits = torch.tensor([[3.0, 1.0, -2.0]])
    assert again.temperature == temperature
    assert torch.equal(again.probabilities(logits), (logits / temperature).softmax(dim=1))
    config = json.loads((tmp_path / "package/config.json").read_text())
    del config["temperature"]
    (tmp_path / "package/config.json").write_text(json.dumps(config))
    assert PEClip.from_pretrained(tmp_path / "package").temperature == 1
    (tmp_path / "package/config.json").write_text(json.dumps(config | {"temperature": 0.0}))
    result = run("export", tmp_path / "package", "--out", tmp_path / "other")
    assert result.err.endswith("temperature is 0.0, expected 0.01 to 100\n")


def test_weights_that_are_loaded_bring_it(tiny_run, temperature):
    trained = read_trained(tiny_run)
    net = PEClip.from_trained(trained)
    net.temperature = 1.0
    net.load_trained(trained)
    assert net.temperature == temperature


def test_a_fit_that_starts_from_the_weights_does_not_begin_with_their_temperature(tiny_run, tiny_config, room):
    options = ("--trainer.limit_val_batches", "0", "--folder", "started", "--trainer.max_epochs", "1")
    result = run("fit", "--config", tiny_config, "--init_from", tiny_run, *options)
    assert result.status == 0, result.err
    assert read_trained(room / "started").config.temperature == 1


def test_it_can_be_switched_off(tiny_config, room):
    assert run("fit", "--config", tiny_config, "--model.calibrate", "false", "--folder", "off").status == 0
    assert read_trained(room / "off").config.temperature == 1
    found = json.loads((room / "off/metrics.json").read_text())["calibration"]
    assert found["ece_after"] == found["ece_before"]
