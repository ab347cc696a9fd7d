"""The command as a person meets it: help, training, evaluation, prediction and configurations."""

import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from peclip import __version__, cli
from tests.processes import called
from tests.runs import LABELS, run, trained, write_config, write_data
from tests.trees import write_clip

HERE = Path(__file__).parent
HELP = (["--help"], ["fit", "--help"], ["cv", "-h"])
HEAVY = ("torch", "lightning", "transformers", "numpy", "pandas", "av", "jsonargparse")


def predictions(run_folder):
    with (run_folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(path):
    """A hash of the trainable weights of a checkpoint."""
    total = hashlib.sha256()
    for name, value in torch.load(path, weights_only=True)["state_dict"].items():
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()


def epochs_of(run_folder):
    """The rows of metrics.csv as text."""
    return (run_folder / "metrics.csv").read_text()


@pytest.fixture
def room(tmp_path, monkeypatch, blank_pictures):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- help ---


def test_help_takes_less_than_a_second_of_the_processor():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "peclip", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)
    assert done.stderr == ""


@pytest.mark.parametrize("code", ["import peclip", *(f"import peclip.cli as c; c.main({args})" for args in HELP)])
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    code += f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def print_whether_pandas_was_imported():
    print(sys.modules["tests.preloaded"].PANDAS_FOR_OPTIONS)


def test_the_options_of_a_training_are_read_without_pandas(tmp_path):
    """The process is a fork of one that has noted it when it had imported what reads them."""
    assert called(tmp_path, print_whether_pandas_was_imported).out == "False\n"


def test_help_and_version_go_to_stdout():
    assert run().out == run("-h").out == run("--help").out != ""
    assert run("--version").out == f"peclip {__version__}\n"


def test_products_are_the_same_bits_in_every_process_unless_somebody_chose_otherwise(monkeypatch):
    monkeypatch.delenv("MKL_CBWR", raising=False)
    cli.main(["--version"])
    assert os.environ["MKL_CBWR"] == "AUTO"
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    cli.main(["--version"])
    assert os.environ["MKL_CBWR"] == "COMPATIBLE"


class ParserReached(Exception):
    """Carries the parser that was about to read the command line."""


@pytest.fixture
def parser_of(monkeypatch):
    """Returns what reads the options of a command."""

    def stop(self, *args, **kwargs):
        raise ParserReached(self)

    def find(command):
        with pytest.raises(ParserReached) as caught:
            cli.main([command])
        parser = caught.value.args[0]
        commands = parser._subcommands_action
        return commands._name_parser_map["fit" if command == "cv" else command] if commands else parser

    monkeypatch.setattr(ArgumentParser, "parse_args", stop)
    return find


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_has_a_help_text(command, parser_of):
    actions = parser_of(command)._actions
    without = [action.option_strings for action in actions if not (action.help or "").strip(" .=SUPRE")]
    assert without == []
    assert len(actions) > 1


@pytest.mark.parametrize("name", ["SharedAdapter", "TextAdapter", "TemporalDynamicAdapter", "MaPLe"])
def test_every_option_of_a_part_has_a_help_text(name):
    from inspect import signature

    from docstring_parser import parse

    from peclip import model

    part = getattr(model, name)
    documented = {entry.arg_name for base in part.__mro__ for entry in parse(base.__doc__ or "").params}
    assert set(signature(part).parameters) <= documented


def test_help_of_a_command_shows_every_option():
    done = run("fit", "--help")
    assert done.status == 0
    for option in ("--data.manifest", "--model.net.backbone", "--trainer.max_epochs", "--name", "--ckpt_path"):
        assert option in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["clip", "--faces"], ("clip", "yunet", False)),
        (["--faces", "--trust", "clip"], ("clip", "yunet", True)),
        (["--faces", "clip", "--trust", "false"], ("clip", "yunet", False)),
        (["--faces", "none", "clip", "--trust=yes"], ("clip", "none", True)),
    ],
)
def test_an_option_that_is_off_by_default_is_switched_on_by_its_name(args, expected):
    from peclip.commands.explain import explain

    found = cli._parse("explain", cli.COMMANDS["explain"], explain, args)
    assert (found["clip"], found["faces"], found["trust"]) == expected


def test_an_interrupt_is_one_line(monkeypatch):
    def interrupted(name, args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    result = run("export", "model")
    assert (result.status, result.out, result.err) == (130, "", "peclip: interrupted\n")


# --- fit, validate, test, predict ---


def test_validate_and_test_repeat_what_fit_found(tiny_run, room):
    checkpoint = tiny_run / "checkpoints" / "best.ckpt"
    before = json.loads((tiny_run / "metrics.json").read_text())
    tested = run("test", "--ckpt_path", checkpoint, "--out", "tested")
    assert (tested.status, tested.err) == (0, "")
    after = json.loads((room / "tested/metrics.json").read_text())
    assert after == before | {"model": str(checkpoint)}
    validated = run("validate", "--ckpt_path", checkpoint, "--out", "validated")
    assert (validated.status, validated.err) == (0, "")
    after = json.loads((room / "validated/metrics.json").read_text())
    assert (after["split"], after["clips"]) == ("validation", 3)
    with (tiny_run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/war"]]
    best = max(rows, key=lambda row: float(row["val/score"]))
    assert after["war"] == pytest.approx(float(best["val/war"]))
    assert "Results on 3 validation clips" in validated.out


def test_the_folder_of_a_run_means_its_best_checkpoint(tiny_run, room):
    for name, source in (("007", tiny_run), ("null", tiny_run / "checkpoints" / "best.ckpt")):  # names that are text
        assert run("predict", "--ckpt_path", source, "--out", f"out/{name}").status == 0
    first, second = (predictions(room / f"out/{name}") for name in ("007", "null"))
    assert first == second
    assert len(first) == 6


def test_without_a_checkpoint_it_is_said_that_nothing_is_trained(tiny_config, room):
    said = "No ckpt_path is given: the adapters and prompts are untrained."
    assert said in run("predict", "--config", tiny_config).out
    bare = ("--model.net.adapters", "{}", "--model.net.prompts", "null")
    result = run("predict", "--config", tiny_config, *bare)
    assert (result.status, said in result.out) == (0, False), result.err


def test_predictions_agree_with_the_confusion_matrix(tiny_run, room):
    assert run("predict", "--ckpt_path", tiny_run, "--out", "new").status == 0
    counts = {label: dict.fromkeys(LABELS, 0) for label in LABELS}
    for row in predictions(room / "new"):
        counts[row["path"].split("/")[1]][row["predicted"]] += 1
    with (tiny_run / "confusion.csv").open(newline="") as file:
        assert counts == {row["truth"]: {label: int(row[label]) for label in LABELS} for row in csv.DictReader(file)}


def test_prediction_needs_no_labels_and_takes_another_source(tiny_run, room):
    for number in range(3):
        write_clip(room / f"new/{number}.mp4", number)
    (room / "new/clips.csv").write_text("path\n0.mp4\n1.mp4\n2.mp4\n")
    result = run("predict", "--ckpt_path", tiny_run, "--data.manifest", "new/clips.csv", "--out", "out")
    assert (result.status, result.err) == (0, "")
    rows = predictions(room / "out")
    assert [row["path"] for row in rows] == ["0.mp4", "1.mp4", "2.mp4"]
    assert list(rows[0]) == ["path", "predicted", *LABELS]


def test_a_prediction_does_not_depend_on_the_batch_and_the_workers(tiny_run, room):
    for name, options in (("one", ()), ("other", ("--data.eval_batch_size", "1", "--data.num_workers", "1"))):
        assert run("predict", "--ckpt_path", tiny_run, "--data.predict", "all", "--out", name, *options).status == 0
    first, second = (predictions(room / name) for name in ("one", "other"))
    for one, other in zip(first, second, strict=True):
        assert [float(one[label]) for label in LABELS] == pytest.approx(
            [float(other[label]) for label in LABELS], abs=2e-6
        )


def test_a_run_without_test_clips_is_evaluated_on_its_validation_clips(tmp_path, tiny_clip):
    config = write_config(tmp_path / "no_test.yaml", tiny_clip, write_data(tmp_path / "data", {"train": 4}))
    with chdir(tmp_path):
        out = run("fit", "--config", config, "--trainer.max_epochs", "1").out
    metrics = json.loads((tmp_path / "runs/tiny/version_0/metrics.json").read_text())
    assert (metrics["split"], metrics["selection"], metrics["clips"]) == ("validation", "validation", 3)
    assert "the test clips" not in out
    assert (
        out.count("which also choose the checkpoint and the temperature, so they are optimistic: add test clips") == 2
    )


def test_a_run_without_validation_clips_keeps_its_last_checkpoint(tmp_path, tiny_config):
    folder = trained(tmp_path, "--config", tiny_config, "--data.val", "0")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["split"], metrics["clips"]) == ("test", 6)
    content = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert content["global_step"] == 6


def test_a_folder_per_class_trains_as_a_manifest_does(tmp_path, tiny_config, tiny_data, tiny_run):
    folder = trained(tmp_path, "--config", tiny_config, "--data.root", tiny_data.parent)
    assert json.loads((folder / "metrics.json").read_text())["clips"] == 6
    saved = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    assert (saved["manifest"], saved["root"], saved["labels"]) == (None, str(tiny_data.parent), list(LABELS))


# --- configurations ---


def test_a_saved_configuration_runs_again_and_ends_the_same(tiny_run, tmp_path):
    again = trained(tmp_path, "--config", tiny_run / "config.yaml")
    assert (again.parent.name, again.name) == ("tiny", "version_0")
    for name in ("best.ckpt", "last.ckpt"):
        assert weights(again / "checkpoints" / name) == weights(tiny_run / "checkpoints" / name)
    assert epochs_of(again) == epochs_of(tiny_run)
    assert (again / "metrics.json").read_text() == (tiny_run / "metrics.json").read_text()


def test_another_seed_is_another_run(tiny_run, tiny_config, tmp_path):
    other = trained(tmp_path, "--config", tiny_config, "--seed_everything", "1")
    assert weights(other / "checkpoints" / "last.ckpt") != weights(tiny_run / "checkpoints" / "last.ckpt")


def test_another_number_of_workers_is_the_same_run(tiny_run, tiny_config, tmp_path):
    other = trained(tmp_path, "--config", tiny_config, "--data.num_workers", "2")
    assert weights(other / "checkpoints" / "last.ckpt") == weights(tiny_run / "checkpoints" / "last.ckpt")


@pytest.mark.slow
def test_a_run_resumes_from_its_last_checkpoint(tiny_config, tmp_path):
    every = ("--checkpoint.save_top_k", "-1", "--checkpoint.filename", "{epoch}")
    long = trained(tmp_path, "--config", tiny_config, *every)
    (middle,) = long.glob("checkpoints/epoch=0*.ckpt")
    resumed = trained(tmp_path, "--config", tiny_config, "--ckpt_path", middle)
    assert weights(resumed / "checkpoints" / "last.ckpt") == weights(long / "checkpoints" / "last.ckpt")


def test_configurations_combine_the_later_over_the_earlier(tiny_config, tmp_path):
    (tmp_path / "no_sha.yaml").write_text(
        "model: {net: {adapters: {vision.mlp: {class_path: peclip.model.TemporalDynamicAdapter, "
        "init_args: {reduction: 2}}}, prompts: null, texts: names, normalize: none}}\n"
    )
    (tmp_path / "other.yaml").write_text("data: {val: test}\nname: other\n")
    overlays = ("--config", tmp_path / "no_sha.yaml", "--config", tmp_path / "other.yaml")
    folder = trained(tmp_path, "--config", tiny_config, *overlays, "--trainer.max_epochs", "1")
    assert folder.parent.name == "other"
    saved = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["peclip"]
    assert {site: spec["init_args"]["reduction"] for site, spec in saved["adapters"].items()} == {"vision.mlp": 2}
    assert saved["prompts"] is None
    assert saved["texts"] == {label: label for label in LABELS}
    assert saved["clip_format"]["std"] == [1.0, 1.0, 1.0]
    assert json.loads((folder / "metrics.json").read_text())["selection"] == "test"


# --- real videos ---


@pytest.fixture(scope="module")
def seven_videos(tmp_path_factory):
    """A folder of one video of each class, named after it in words other than peclip's."""
    folder = tmp_path_factory.mktemp("seven")
    for number, name in enumerate(("angry", "disgust", "fear", "happy", "neutral", "sadness", "surprise")):
        write_clip(folder / f"{name}.mp4", number, frames=20)
    return folder


@pytest.mark.parametrize("source", ["folder", "manifest"])
def test_videos_named_after_their_classes_train_and_predict(source, seven_videos, room, tiny_config):
    if source == "folder":
        options = ["--data.root", seven_videos]
    else:
        rows = [f"{path},{path.stem}" for path in sorted(seven_videos.glob("*.mp4"))]
        (room / "clips.csv").write_text("\n".join(["path,label", *rows]) + "\n")
        options = ["--data.manifest", "clips.csv", "--data.allow_outside", "true"]
    result = run("fit", "--config", tiny_config, *options, "--trainer.max_epochs", "1", "--data.val", "0")
    assert result.status == 0, result.err
    assert "7 training, 0 validation, 0 test clips of 7 classes" in result.out
    result = run("predict", "--ckpt_path", "runs/tiny/version_0/checkpoints/best.ckpt")
    assert result.status == 0, result.err
    rows = predictions(room / "runs/tiny/version_0/predict_0")
    assert sorted(Path(row["path"]).stem for row in rows) == [
        "angry", "disgust", "fear", "happy", "neutral", "sadness", "surprise"
    ]  # fmt: skip
    assert len(rows[0]) == 2 + 7
