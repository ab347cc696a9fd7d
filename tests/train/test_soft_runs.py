"""Trainings with soft labels, class weights, few clips per class and all that meets them: mixing, smoothing, ranks, resuming."""

import signal
from functools import partial

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.data.test_soft_labels import soften
from tests.processes import AtCall, in_a_process, send
from tests.ranked import in_ranks, logged, write_many
from tests.runs import LABELS, run, write_config
from tests.stress.killed import outcome

ALL = {
    "model.class_weights": "balanced",
    "model.loss": "torch.nn.CrossEntropyLoss",
    "model.loss.label_smoothing": 0.1,
    "model.warmup_epochs": 0,
    "data.soft_labels": "true",
    "data.shots": 6,
    "data.mix.mixup": 0.5,
    "data.mix.fmix": 0.5,
    "data.views": "{clips: 2, crops: 2}",
    "model.net.norms": "both",
    "model.lr_norms": 0.01,
    "model.net.texts": "[action_units, names]",
    "trainer.callbacks+": "lightning.pytorch.callbacks.EMAWeightAveraging",
    "trainer.accumulate_grad_batches": 2,
    "last.every_n_steps": 1,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_clip):
    """20 training clips of three classes, of which 18 are drawn, 3 validation and 6 test clips."""
    folder = tmp_path_factory.mktemp("soft_runs")
    manifest = soften(write_many(folder / "data", {"train": 20, "val": 3, "test": 6}, LABELS))
    return write_config(folder / "tiny.yaml", tiny_clip, manifest)


def fit(config, batch, *more):
    given = {**ALL, "data.batch_size": batch}
    return [
        "fit",
        "--config",
        str(config),
        *(str(w) for name, value in given.items() for w in (f"--{name}", value)),
        *more,
    ]


@pytest.mark.stress
def test_a_killed_run_and_one_on_two_ranks_end_as_one_that_was_neither(config, tmp_path):
    whole, killed, ranks = (tmp_path / name for name in ("whole", "killed", "ranks"))
    assert in_a_process(whole, fit(config, 4)) == (0, "")
    in_the_second_epoch = AtCall("peclip.train.module:PEClipModule.training_step", 8, partial(send, signal.SIGKILL))
    assert in_a_process(killed, fit(config, 4), in_the_second_epoch)[0] == -signal.SIGKILL
    assert in_a_process(killed, fit(config, 4, "--ckpt_path", "last", "--data.num_workers", "1")) == (0, "")
    one, again = (folder / "runs/tiny/version_0" for folder in (whole, killed))
    assert outcome(one) == outcome(again)
    _assert_alike_in_packages_and_on_ranks(one, again, tmp_path)
    assert [result.status for result in in_ranks(ranks, fit(config, 2), 2)] == [0, 0]
    losses = logged(one, "train/loss")
    assert len(losses) == 6
    assert logged(ranks / "runs/tiny/version_0", "train/loss") == pytest.approx(losses, abs=1e-4)


def _assert_alike_in_packages_and_on_ranks(one, again, folder):
    """Export both runs, and test the package of one, with several views, in one process and on two ranks: the same bytes."""
    packages = [folder / "packages" / name for name in ("one", "again")]
    for source, package in zip((one, again), packages, strict=True):
        assert run("export", source, "--out", package).status == 0
    tensors, others = (load_file(package / "adapters.safetensors") for package in packages)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    assert any(name.startswith("norms.") for name in tensors)
    manifest = yaml.safe_load((one / "config.yaml").read_text().partition("\n")[2])["data"]["manifest"]
    views = ["--data.views", ALL["data.views"], "--data.eval_batch_size", "2", "--data.manifest", str(manifest)]
    for number, source in enumerate((one, packages[1])):
        words = [
            "test",
            "--ckpt_path",
            str(source),
            *views,
            "--trainer.accelerator",
            "cpu",
            "--out",
            str(folder / f"test_{number}"),
        ]
        if number:
            assert [result.status for result in in_ranks(folder / "ranks_of_test", words, 2)] == [0, 0]
        else:
            assert in_a_process(folder, words) == (0, "")
    tables = [(folder / f"test_{number}" / "predictions.csv").read_text() for number in (0, 1)]
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 1 + 6


@pytest.mark.stress
def test_a_run_does_not_resume_with_other_soft_labels_or_weights(config, tmp_path, monkeypatch):
    manifest = tmp_path / "soft.csv"
    table = pd.read_csv(config.parent / "data/manifest.csv")
    table.assign(path=[str(config.parent / "data" / path) for path in table["path"]]).to_csv(manifest, index=False)
    args = fit(config, 4, "--data.manifest", str(manifest), "--data.allow_outside", "true")
    assert in_a_process(tmp_path, [*args, "--trainer.max_epochs", "1"]) == (0, "")
    monkeypatch.chdir(tmp_path)
    more = [*args, "--ckpt_path", "last", "--trainer.max_epochs", "2"]
    assert "model.class_weights balanced (now [1" in run(*more, "--model.class_weights", "[1, 1, 2]").err
    assert "data.shots 6 (now 5)" in run(*more, "--data.shots", "5").err
    columns = [f"p_{label}" for label in LABELS]
    table = pd.read_csv(manifest)
    table[columns] = table[columns].iloc[:, [1, 2, 0]].to_numpy()
    table.to_csv(manifest, index=False)
    assert "soft.csv has other training clips" in run(*more).err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data.soft_labels", "true"), "manifest.csv line 1: has no soft labels, expected columns p_happiness"),
        (
            ("--model.class_weights", "{happy: 1, sad: 2, bored: 3}"),
            "model.class_weights names 'bored', which is none of",
        ),
        (("--model.class_weights", "heavy"), "model.class_weights"),
        (("--model.class_weights", "balanced", "--data.balanced", "true"), "both make up for small classes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_a_run_has_a_folder(
    tiny_config, tmp_path, monkeypatch, options, says
):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, *options)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.stress
def test_weights_are_given_by_any_spelling_and_said(tiny_config, tmp_path, monkeypatch, blank_pictures):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.yaml").write_text("model: {class_weights: {Angry: 3, sad: 0.5, happiness: 1}}\n")
    short = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--model.zero_shot", "false")
    result = run("fit", "--config", tiny_config, "--config", "weights.yaml", *short)
    assert result.status == 0, result.err
    assert "Class weights: happiness 1, sadness 0.5, anger 3." in result.out
    assert run("test", "--ckpt_path", "runs/tiny/version_0").status == 0
