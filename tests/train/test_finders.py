"""Lightning's finders of a learning rate and of a batch size, in trainings and in evaluations."""

import json
import re
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from peclip.train.module import PEClipModule
from tests.runs import run
from tests.train.one_epoch import callback, column

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.slow
def test_a_finder_of_the_learning_rate_needs_no_name_of_an_attribute(fit_once):
    finder = callback("LearningRateFinder", num_training_steps=15)  # so many at least
    folder, result = fit_once(*finder, "--trainer.max_epochs", "5", "--model.warmup_epochs", "0")
    assert "Learning rate set to" in result.out + result.err
    adapters, prompts = column(folder, "lr/adapters"), column(folder, "lr/prompts")
    assert adapters[0] != pytest.approx(2e-4)
    assert prompts[0] / adapters[0] == pytest.approx(3e-5 / 2e-4)


def test_a_finder_of_the_batch_size_needs_no_name_of_an_attribute(fit_once):
    folder, result = fit_once(*callback("BatchSizeFinder", max_trials=2, steps_per_trial=1, init_val=2))
    assert (result.out + result.err).count("Finished batch size finder") == 1  # an evaluation has another batch size
    assert json.loads((folder / "metrics.json").read_text())["clips"] == 6


class Sizes(Callback):
    """A callback of one's own that prints the size of each batch that is evaluated; trials of a finder have no callbacks."""

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, *place):
        print("clips of a batch:", len(batch))

    on_validation_batch_end = on_predict_batch_end = on_test_batch_end


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_finder_finds_the_batch_size_with_which_an_evaluation_continues(command, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder = callback("BatchSizeFinder", max_trials=1, steps_per_trial=1, init_val=3)
    sizes = ("--trainer.callbacks+", json.dumps({"class_path": f"{__name__}.Sizes"}))
    result = run(command, "--ckpt_path", tiny_run, "--data.eval_batch_size", "1", *finder, *sizes, "--out", "results")
    assert result.status == 0, result.err
    assert "will continue with full run using batch size 3" in result.out + result.err
    assert set(re.findall(r"clips of a batch: (\d)", result.out)) == {"3"}


def test_a_trial_without_enough_memory_leaves_nothing_in_the_results(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder = callback("BatchSizeFinder", max_trials=5, steps_per_trial=1, init_val=1)
    evaluate = PEClipModule._evaluate

    def with_little_memory(self, batch, metrics):
        outputs = evaluate(self, batch, metrics)
        if len(batch) > 2:
            raise RuntimeError("CUDA out of memory.")
        return outputs

    monkeypatch.setattr(PEClipModule, "_evaluate", with_little_memory)
    result = run("test", "--ckpt_path", tiny_run, *finder, "--out", "results", "--model.zero_shot", "false")
    assert result.status == 0, result.err
    assert "will continue with full run using batch size 2" in result.out + result.err
    found, plain = (json.loads((folder / "metrics.json").read_text()) for folder in (Path("results"), tiny_run))
    assert (found["clips"], found["war"]) == (plain["clips"], plain["war"])


def test_what_a_finder_had_left_in_a_run_that_was_killed_goes_when_it_resumes(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_folder = tmp_path / "runs/tiny/version_0"
    options = ["fit", "--config", tiny_config, "--trainer.max_epochs", "1", "--model.zero_shot", "false"]
    assert run(*options).status == 0
    names = [".lr_find_1.ckpt", ".scale_batch_size_1.ckpt"]
    for name in [*names, ".mine.ckpt"]:
        (run_folder / name).write_bytes(b"")
    result = run(*options, "--ckpt_path", "last")
    assert result.status == 0, result.err
    assert {path.name for path in run_folder.glob(".*.ckpt")} == {".mine.ckpt"}
