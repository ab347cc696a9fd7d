"""Seeds, folds and a run that begins again start from the weights that those before them started from, or are refused."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from peclip.errors import InputError
from peclip.model.io import read_trained
from peclip.train import cv, seeds
from peclip.train.runs.start_model import Origin
from tests.processes import AtCall, in_a_process, send
from tests.runs import run, write_config
from tests.train.test_cv import write_folds
from tests.train.test_record import changed, found

pytestmark = pytest.mark.usefixtures("blank_pictures")

MODEL = "model.ckpt"
SHORT = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--model.zero_shot", "false")
FROM_MODEL = (*SHORT, "--data.num_frames", "null", "--model.net.num_frames", "3", "--init_from", MODEL)
DIE = AtCall("peclip.train.module:PEClipModule.training_step", 1, partial(send, signal.SIGKILL))
RUN = Path("runs/tiny/version_0")


@pytest.fixture
def model(tiny_run, tmp_path, monkeypatch):
    """A trained model in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(tiny_run / "checkpoints/best.ckpt", MODEL))


@pytest.fixture
def fit(tiny_config, model):
    return ["fit", "--config", str(tiny_config), *FROM_MODEL]


@pytest.fixture
def cross_validation(tiny_clip, model):
    config = write_config(Path("tiny.yaml"), tiny_clip, write_folds(Path("data"), folds=(1, 2), clips=1))
    return ["cv", "--config", str(config), *FROM_MODEL]


def train_on(model=Path(MODEL)):
    """Replace a model by what its training may have made of it meanwhile."""
    content = torch.load(model, weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("weight"))
    content["state_dict"][name] += 0.01
    torch.save(content, model)


def train_on_after(monkeypatch, module, number):
    """Let the model train on after so many of the seeds or folds of a command."""
    train, done = module.train_and_free, []

    def trained(*args):
        train(*args)
        done.append(args)
        if len(done) == number:
            train_on()

    monkeypatch.setattr(module, "train_and_free", trained)


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


# --- several seeds ---


def test_a_seed_does_not_start_from_other_weights_than_the_one_before(fit, monkeypatch):
    train_on_after(monkeypatch, seeds, 1)
    result = run(*fit, "--seeds", "2", "--folder", "all")
    assert_refused(
        result,
        "model.ckpt has other weights than when all/seed_0 started from it",
        "start all again from a copy that stays as it is, with another --name or --folder",
    )
    assert [path.name for path in Path("all").glob("seed_*")] == ["seed_0"]


def test_seeds_go_on_once_the_model_is_back(fit, model):
    shutil.copy(model, "before.ckpt")
    assert run(*fit, "--seeds", "1", "--folder", "all").status == 0
    train_on()
    assert_refused(run(*fit, "--seeds", "2", "--folder", "all"), "than when all/seed_0 started from it")
    shutil.copy("before.ckpt", model)
    assert run(*fit, "--seeds", "2", "--folder", "all").status == 0


def test_seeds_of_an_earlier_version_which_recorded_no_origin_are_continued(fit):
    assert run(*fit, "--seeds", "1", "--folder", "all").status == 0
    Path("all/seed_0/origin.json").unlink()
    train_on()
    assert run(*fit, "--seeds", "2", "--folder", "all").status == 0
    assert Path("all/seed_1/origin.json").exists()


# --- folds ---


def test_a_fold_does_not_start_from_other_weights_than_the_one_before(cross_validation, monkeypatch):
    train_on_after(monkeypatch, cv, 1)
    says = "model.ckpt has other weights than when runs/tiny/cv_0/fold_1 started from it"
    assert_refused(run(*cross_validation), says)
    assert_refused(run(*cross_validation), says)
    assert not Path("runs/tiny/cv_0/fold_2").exists()


def test_a_cross_validation_without_a_finished_fold_starts_from_the_model_as_it_is(cross_validation):
    assert in_a_process(Path.cwd(), cross_validation, DIE)[0] == -signal.SIGKILL
    train_on()
    assert run(*cross_validation).status == 0


@pytest.mark.slow
def test_folds_with_another_seed_start_from_the_same_weights(cross_validation, monkeypatch):
    train_on_after(monkeypatch, cv, 2)
    result = run(*cross_validation, "--seeds", "2", "--folder", "all")
    assert_refused(result, "model.ckpt has other weights than when all/seed_0/fold_1 started from it")


# --- a single run ---


def test_a_run_that_begins_again_does_not_start_from_other_weights(fit, model):
    shutil.copy(model, "before.ckpt")
    assert in_a_process(Path.cwd(), fit, DIE)[0] == -signal.SIGKILL
    train_on()
    result = run(*fit, "--ckpt_path", "last")
    assert_refused(
        result, f"model.ckpt has other weights than when {RUN} started", "start a new run (omit --ckpt_path)"
    )
    assert run(*fit, "--ckpt_path", "last", "--allow_changes", "true").status == 2
    shutil.copy("before.ckpt", model)
    assert run(*fit, "--ckpt_path", "last").status == 0


def test_a_run_of_an_earlier_version_which_recorded_no_origin_begins_again_and_records_it(fit):
    assert in_a_process(Path.cwd(), fit, DIE)[0] == -signal.SIGKILL
    (RUN / "origin.json").unlink()
    train_on()
    assert run(*fit, "--ckpt_path", "last").status == 0
    assert json.loads((RUN / "origin.json").read_text())["init_from"] == MODEL


def test_another_model_that_is_allowed_takes_the_place_of_the_one_on_record(fit, model):
    assert in_a_process(Path.cwd(), fit, DIE)[0] == -signal.SIGKILL
    shutil.copy(model, "other.ckpt")
    train_on(Path("other.ckpt"))
    again = [*fit, "--init_from", "other.ckpt", "--ckpt_path", "last", "--allow_changes", "true"]
    assert in_a_process(Path.cwd(), again, DIE)[0] == -signal.SIGKILL
    train_on(Path("other.ckpt"))
    assert_refused(run(*again), "other.ckpt has other weights than when")


def test_a_run_that_has_a_checkpoint_resumes_from_it(fit):
    assert run(*fit).status == 0
    before = (RUN / "origin.json").read_text()
    (RUN / "metrics.json").unlink()
    train_on()
    assert run(*fit, "--ckpt_path", "last").status == 0
    assert (RUN / "origin.json").read_text() == before


def test_a_run_that_starts_from_no_model_has_no_origin(tiny_run):
    assert not (tiny_run / "origin.json").exists()


# --- what is compared ---


def test_a_model_to_start_from_is_an_option_as_long_as_there_is_no_checkpoint(tmp_path):
    nothing = {"checkpoint": None, "steps": 0, "epochs": 0, "state": {"options": changed() | {"init_from": "a.pth"}}}
    with pytest.raises(InputError, match=r"init_from a\.pth \(now null\)"):
        found(tmp_path, changed(), **nothing)
    assert found(tmp_path, changed(), state=nothing["state"]) == {}


def test_a_package_of_the_same_weights_is_the_same_origin(tiny_run, tmp_path):
    assert run("export", tiny_run, "--out", tmp_path / "package").status == 0
    run_itself, package = (Origin.of("model", read_trained(str(path))) for path in (tiny_run, tmp_path / "package"))
    run_itself.write(tmp_path)
    package.check_same(tmp_path, "")


def test_what_is_different_is_named(tiny_run, tmp_path):
    origin = Origin.of("model", read_trained(str(tiny_run)))
    origin.write(tmp_path)
    other = Origin("model", "", origin.settings | {"backbone": "another", "logit_scale": 1.0})
    with pytest.raises(InputError, match="model has other weights and backbone and logit_scale than when"):
        other.check_same(tmp_path, "")


def test_a_damaged_record_is_named(tiny_run, tmp_path):
    origin = Origin.of("model", read_trained(str(tiny_run)))
    for content, says in (("{", "cannot be read"), ("{}", "lacks init_from")):
        (tmp_path / "origin.json").write_text(content)
        with pytest.raises(InputError, match=f"origin.json.* {says}"):
            origin.check_same(tmp_path, "")


def test_a_training_starts_from_a_model_whose_part_takes_a_dtype(model, tmp_path):
    trained = read_trained(model)
    part = next(iter(trained.config.adapters.values()))
    for name, value in (("dtype", torch.float16), ("names", {"a", "b"})):
        part.init_args[name] = value
    origin = Origin.of(MODEL, trained)
    origin.write(tmp_path)
    origin.check_same(tmp_path, "put it back")
    part.init_args["dtype"] = torch.float32
    with pytest.raises(InputError, match="has other adapters than when"):
        Origin.of(MODEL, trained).check_same(tmp_path, "put it back")
