"""Every command that takes a model takes a run, a .ckpt, a package or a released .pth, and needs nothing else."""

import csv
import json
import os
import shutil
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
import yaml

from peclip.bench import measure
from peclip.errors import InputError
from peclip.labels import SEVEN
from peclip.model.io import read_trained
from peclip.train.cli.trained_model import run_options
from tests.model.released_small import as_saved, small_ids, small_state
from tests.runs import run, trained, write_config, write_data
from tests.trees import write_clip

pytestmark = pytest.mark.usefixtures("blank_pictures")

SAME = ("run", "ckpt", "package")
"""Kinds that are the same model; the released one is another."""

KINDS = (*SAME, "released")

ONE_STEP = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")


@dataclass(frozen=True)
class Place:
    """A trained model in every form, and clips of its seven classes: one a split, and one a fold.

    Attributes:
        models: by kind; not to be written to.
        clips: manifest with the splits train, val and test.
        folds: manifest with the folds 1 and 2.
    """

    models: dict[str, Path]
    clips: Path
    folds: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_clip):
    folder = tmp_path_factory.mktemp("models")
    clips = write_data(folder / "data", {"train": 1, "val": 1, "test": 1}, SEVEN, frames=3)
    rows = [line.split(",") for line in clips.read_text().splitlines()[1:]]
    folds = [f"{path},{label},{1 if split == 'train' else 2}" for path, label, split in rows if split != "val"]
    (folder / "data/folds.csv").write_text("\n".join(["path,label,fold", *folds]) + "\n")
    config = write_config(folder / "tiny.yaml", tiny_clip, clips)
    model = trained(folder, "--config", config, "--trainer.max_epochs", "1", "--model.zero_shot", "false")
    assert run("export", model, "--out", folder / "package").status == 0
    torch.save(as_saved(small_state(), small_ids(len(SEVEN))), folder / "released.pth")
    config.unlink()
    models = (model, model / "checkpoints/best.ckpt", folder / "package", folder / "released.pth")
    return Place(dict(zip(KINDS, models, strict=True)), clips, folder / "data/folds.csv")


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """An empty folder to work in, on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def own_run(place, room):
    """A copy of the run in ``runs/tiny/version_0``, to write to."""
    return Path(shutil.copytree(place.models["run"], "runs/tiny/version_0"))


def done(*args):
    """Run a command that must succeed without a word on stderr, and return what it prints."""
    result = run(*args)
    assert (result.status, result.err) == (0, ""), result.err
    return result.out


def refused(*args):
    """Run a command that must be refused in one line, and return the line."""
    result = run(*args)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    return result.err.removeprefix("peclip: error: ").rstrip("\n")


def content(folder):
    """The results of an evaluation, but for the name of the model."""
    texts = {path.name: path.read_text() for path in Path(folder).glob("*.csv")}
    metrics = Path(folder, "metrics.json")
    found = json.loads(metrics.read_text()) if metrics.exists() else {}
    return texts | {"metrics": {name: value for name, value in found.items() if name != "model"}}


def weights_of(model):
    return read_trained(model).state


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- what every kind can do ---


@pytest.mark.slow
@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_an_evaluation_needs_a_model_and_clips(command, place):
    for kind, model in place.models.items():
        # The run brings its number of workers along.
        workers = () if kind in ("run", "ckpt") else ("--data.num_workers", "0")
        done(command, "--ckpt_path", model, "--data.manifest", place.clips, "--out", kind, *workers)
    first, *others = (content(kind) for kind in SAME)
    assert len(first["predictions.csv"].splitlines()) == 1 + len(SEVEN)
    assert (first["metrics"].get("clips"), "metrics.csv" in first) == ((None, False), (7, True))[command != "predict"]
    assert all(other == first for other in others)
    assert content("released")["predictions.csv"] != first["predictions.csv"]


@pytest.mark.slow
def test_workers_are_no_further_option(place):
    done("predict", "--ckpt_path", place.models["package"], "--data.manifest", place.clips, "--out", "out")
    assert len(content("out")["predictions.csv"].splitlines()) == 1 + len(SEVEN)
    assert not active_children()  # they end with the command; the garbage collector would be later


def test_every_kind_becomes_a_package(place):
    for kind, model in place.models.items():
        done("export", model, "--out", kind)
        assert_same_weights(weights_of(kind), weights_of(model))
    configs = [json.loads(Path(kind, "config.json").read_text()) for kind in SAME]
    assert all(config["labels"] == list(SEVEN) and config["clip_format"]["num_frames"] == 3 for config in configs)
    assert all(config["fingerprint"] == configs[0]["fingerprint"] for config in configs)


def test_every_kind_is_written_as_onnx(place, monkeypatch):
    """The files are checked by the tests of ONNX files, which write that of a package, too."""
    written = []

    def write_onnx(net, path, dtype):
        written.append(net)
        path.parent.mkdir()
        path.touch()
        return f"written in {dtype}"

    monkeypatch.setattr("peclip.model.io.onnx.write_onnx", write_onnx)
    for kind, model in place.models.items():
        done("export", model, "--format", "onnx", "--out", kind)
        assert_same_weights(written.pop().to_trained().state, weights_of(model))


def test_every_kind_recognizes_expressions_in_a_video(place):
    write_clip(Path("video.mp4"), 1)
    for kind, model in place.models.items():
        result = run("recognize", "video.mp4", "--model", model, "--faces", "none", "--out", kind)
        assert (result.status, result.err.count("\n")) == (0, 1), result.err
        assert "caution: small face (0.2 s), seen for a moment (0.2 s)" in result.err
    tables = {kind: Path(kind, "timeline.csv").read_text() for kind in KINDS}
    assert tables["run"] == tables["ckpt"] == tables["package"] != tables["released"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_fold_of_a_cross_validation_starts_from_the_model(kind, place):
    model = place.models[kind]
    rates = ("--model.lr_adapters", "0", "--model.lr_prompts", "0", "--model.warmup_epochs", "0")
    options = ("--data.val", "test", "--data.num_workers", "0", *ONE_STEP)
    done("cv", "--init_from", model, "--data.manifest", place.folds, "--folder", kind, *rates, *options)
    for fold in ("fold_1", "fold_2"):
        assert_same_weights(weights_of(Path(kind, fold)), weights_of(model))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["eval", "train"])
def test_every_kind_is_timed(what, place, monkeypatch):
    monkeypatch.setattr(measure, "SIDES", {"cpu": (64,)})
    monkeypatch.setattr(measure, "SECONDS", 0.01)
    found = {}
    for kind, model in place.models.items():
        steps = ("--steps", "1", "--warmup", "1", "--batch_size", "1", "--out", f"{kind}.json")
        assert f"{model} at " in done("bench", what, "--model", model, *steps)
        found[kind] = json.loads(Path(f"{kind}.json").read_text())
        assert (found[kind]["model"], found[kind]["classes"]) == (str(model), 7)
    assert [found[kind]["num_frames"] for kind in KINDS] == [3, 3, 3, 16]
    assert [found[kind]["image_size"] for kind in KINDS] == [32, 32, 32, 64]
    assert found["run"]["flops_per_clip"] == found["package"]["flops_per_clip"] != found["released"]["flops_per_clip"]


# --- what contradicts the model ---

LABELS_OF_MODEL = f"was trained on the labels {', '.join(SEVEN)}, but data.labels is anger, fear: omit it"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("model.net.normalize", "none", "is none, but {model} was trained with backbone: omit it"),
        ("model.net.num_frames", "5", "is 5, but {model} was trained with 3: omit it, and set --data.num_frames 5 to read"),
        ("model.net.logit_scale", "50", "is 50.0, but {model} was trained with 100.0: omit it"),
        ("model.net.temporal", "peclip.model.GRUHead", "is GRUHead(reduction=1), but {model} was trained with MeanPool(): omit it"),
        ("model.net.prompts", "null", "is none, but {model} was trained with MaPLe(length=2, depth=2): omit it"),
        ("model.net.prompts", "{class_path: peclip.model.MaPLe, init_args: {depth: 1}}", "is MaPLe(length=2, depth=1), but "),
        ("model.net.adapters", "{text.mlp: peclip.model.TextAdapter}", "is vision.attention: none, vision.mlp: none, "),
        ("model.net.without", "[text.mlp]", "is text.mlp, but {model} was trained with text.mlp: TextAdapter(reduction=8"),
    ],
)  # fmt: skip
def test_an_option_that_contradicts_the_model_is_refused(option, value, says, place):
    model = place.models["package"]
    said = refused("test", "--ckpt_path", model, "--data.manifest", place.clips, f"--{option}", value)
    assert said.startswith(f"{option} {says.format(model=model)}")


def test_other_labels_than_those_of_the_model_are_refused(place):
    model = place.models["package"]
    said = refused("test", "--ckpt_path", model, "--data.manifest", place.clips, "--data.labels", "[anger, fear]")
    assert said == f"{model} {LABELS_OF_MODEL}"


def test_what_agrees_with_the_model_may_be_stated(place):
    stated = ("--model.net.num_frames", "3", "--model.net.logit_scale", "100", "--model.net.prompts.length", "2")
    done("predict", "--ckpt_path", place.models["run"], "--data.manifest", place.clips, "--out", "out", *stated)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("num_frames", "5", "num_frames is 5, but {model} has 3: omit num_frames"),
        ("classes", "3", "classes is 3, but {model} has 7: omit classes"),
        ("image_size", "64", "image_size is 64, but {model} has 32: omit image_size"),
        ("backbone", "tiny", "backbone is 'tiny' with random weights, but {model} was trained on '{backbone}': omit"),
    ],
)
def test_timing_a_model_with_other_measures_is_refused(option, value, says, place, tiny_clip):
    model = place.models["package"]
    said = refused("bench", "eval", "--model", model, f"--{option}", value)
    assert said.startswith(says.format(model=model, backbone=tiny_clip))


def test_a_training_that_starts_from_a_model_keeps_its_number_of_frames(place):
    said = refused("fit", "--init_from", place.models["run"], "--data.manifest", place.clips, "--data.num_frames", "5")
    assert said.startswith("num_frames is 5, but the model is made for 3 frames")


def test_a_cross_validation_says_how_to_start_from_a_model(place):
    said = refused("cv", "--ckpt_path", place.models["run"], "--data.manifest", place.folds)
    assert said.startswith("ckpt_path belongs to one run")
    assert said.endswith("from a trained model, set --init_from")


def test_another_number_of_frames_is_reported(place):
    model, frames = place.models["run"], ("--data.num_frames", "5")
    shown = done("test", "--ckpt_path", model, "--data.manifest", place.clips, "--out", "out", *frames)
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert (metrics["clip_format"]["num_frames"], metrics["model_format"]["num_frames"]) == (5, 3)
    assert "num_frames 5, but the model was trained with 3" in " ".join(shown.split())


# --- where the results are ---


@pytest.mark.slow
def test_evaluations_of_a_run_are_below_it_and_its_training_resumes(own_run):
    for _ in range(2):
        done("test", "--ckpt_path", own_run)
    done("predict", "--ckpt_path", own_run / "checkpoints/last.ckpt")
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]
    assert {path.name for path in own_run.glob("*_[0-9]*")} == {"test_0", "test_1", "predict_0"}
    assert content(own_run / "test_0")["metrics"] == content(own_run)["metrics"]
    shown = done("compare", own_run, own_run / "test_0", "--out", "compared")
    times = next(line for line in shown.splitlines() if "training time" in line).split("│")[2:4]
    assert times[0].strip() == times[1].strip() != "unknown"
    resumed = ("--config", own_run / "config.yaml", "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert "The run is in runs/tiny/version_0" in done("fit", *resumed)
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]
    with (own_run / "metrics.csv").open(newline="") as file:
        assert {row["epoch"] for row in csv.DictReader(file) if row["val/war"]} == {"0", "1"}


def test_evaluations_of_another_model_have_a_number_of_their_own(place):
    for folder in ("test_0", "test_1"):
        workers = ("--data.num_workers", "0", "--name", "mine")
        shown = done("test", "--ckpt_path", place.models["package"], "--data.manifest", place.clips, *workers)
        assert f"The results are in runs/mine/{folder}" in shown


# --- models named in configurations ---


def test_the_saved_configuration_of_a_run_may_be_given_with_its_model(own_run):
    done("test", "--config", own_run / "config.yaml", "--ckpt_path", own_run)
    assert content(own_run / "test_0")["metrics"] == content(own_run)["metrics"]


def test_a_model_named_in_a_configuration_is_the_model(place):
    named = {"ckpt_path": str(place.models["run"]), "data": {"manifest": str(place.clips), "num_workers": 0}}
    Path("evaluation.yaml").write_text(yaml.safe_dump(named))
    done("test", "--config", "evaluation.yaml", "--out", "out")
    assert content("out")["metrics"] == content(place.models["run"])["metrics"]
    done("test", "--config", "evaluation.yaml", "--ckpt_path", place.models["released"], "--out", "other")
    assert content("other")["metrics"] != content("out")["metrics"]


@pytest.mark.slow
def test_a_saved_training_starts_from_the_model_again(place):
    model, rates = place.models["run"], ("--model.lr_adapters", "0", "--model.lr_prompts", "0")
    options = (*rates, "--model.warmup_epochs", "0", "--data.num_workers", "0", *ONE_STEP)
    done("fit", "--init_from", model, "--data.manifest", place.clips, "--folder", "first", *options)
    done("fit", "--config", "first/config.yaml", "--folder", "second")
    assert_same_weights(weights_of("second"), weights_of(model))
    done("test", "--config", "second/config.yaml", "--ckpt_path", "second", "--out", "tested")
    assert content("tested")["metrics"] == content("second")["metrics"]
    assert "--ckpt_path" in refused("test", "--init_from", "second")


# --- runs of peclip 0.1.0 ---


def in_format_1(entry):
    """Return what peclip 0.1.0 wrote of a model in place of the entry of a checkpoint of today."""
    clips = entry["clip_format"]
    kept = {name: value for name, value in entry.items() if name != "clip_format"}
    inputs = {"num_frames": clips["num_frames"], "image_size": clips["image_size"], "normalize": "clip"}
    old = json.loads(json.dumps(kept).replace("peclip.model.MaPLe", "peclip.model.prompts.MaPLe"))
    for spec in old["adapters"].values():
        spec["class_path"] = spec["class_path"].replace("peclip.model.", "peclip.model.adapters.")
    return old | {"format": 1, "input": inputs}


def test_a_run_of_0_1_0_is_tested_with_nothing_else(place, tiny_clip):
    folder = Path("runs/old/version_0")
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint = torch.load(place.models["ckpt"], weights_only=True)
    torch.save(checkpoint | {"peclip": in_format_1(checkpoint["peclip"])}, folder / "checkpoints/best.ckpt")
    data = {"manifest": str(place.clips), "labels": list(SEVEN), "num_workers": 0, "batch_size": 4}
    options = {
        "name": "old",
        "seed_everything": 0,
        "trainer": {"accelerator": "cpu", "precision": "32-true", "logger": True},
        "model": {
            "schedule": "cosine",
            "zero_shot": False,
            "net": {"backbone": str(tiny_clip), "texts": "action_units"},
        },
        "data": data | {"num_frames": 3, "normalize": "clip", "image_size": None},
        "ckpt_path": None,
        "folder": None,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    done("test", "--ckpt_path", folder)
    assert os.listdir("runs/old") == ["version_0"]
    assert content(folder / "test_0")["predictions.csv"] == content(place.models["run"])["predictions.csv"]


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("mine/a.csv", "of runs/x, relative to the folder where that was started: name it with --data.manifest"),
        ("/nowhere/a.csv", "of runs/x: name it with --data.manifest"),
    ],
)
def test_a_manifest_that_only_the_run_names_is_said_to_be_that_of_its_training(manifest, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/x/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/x/config.yaml").write_text(f"data: {{manifest: {manifest}}}")
    with pytest.raises(InputError) as caught:
        run_options("runs/x", other_data=False, trusted=False)
    assert str(caught.value) == f"{manifest}: no such file; it is the manifest of the training {says}"
    assert run_options("runs/x", other_data=True, trusted=False) == {}


def test_an_evaluation_of_a_run_computes_as_the_run_did(tmp_path):
    folder = tmp_path / "runs/x/version_0"
    (folder / "checkpoints").mkdir(parents=True)
    model = {"frozen": "bf16", "residual": "bf16", "lr_adapters": 0.1}
    (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": {"precision": "bf16-mixed"}, "model": model}))
    options = run_options(str(folder), other_data=True, trusted=False)
    del model["lr_adapters"]  # of the training alone
    assert options == {"trainer": {"precision": "bf16-mixed"}, "model": model}
