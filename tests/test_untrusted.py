"""Files from strangers run no code; each attack would leave a file ``ran`` behind. Checkpoints: tests/model/test_torch_file."""

import os
import shutil
import sys

import pytest
import torch
import yaml

from tests.bad_input.mistakes import assert_no_run, assert_refused
from tests.runs import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


def callback(name, **arguments):
    return {"callbacks": [{"class_path": name, "init_args": arguments}]}


FROM_LIGHTNING = "lightning.pytorch.callbacks"
POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "ran"]}}
BOARD = {"save_dir": "board", "comment": yaml.safe_dump(POPEN)}

CONFIGURATIONS = {
    "a class as text": (
        {"logger": {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": BOARD}},
        "trainer.logger.init_args.comment names 'subprocess.Popen', but no class is expected here",
    ),
    "a module that acts when it is imported": ({"logger": {"class_path": "this.Logger"}}, "names 'this.Logger'"),
    "a function for a callback to call": (
        callback(f"{FROM_LIGHTNING}.LambdaCallback", on_fit_start="os.abort"),
        "on_fit_start names 'os.abort', but functions are not allowed",
    ),
    "a class among the arguments": (callback(f"{FROM_LIGHTNING}.Timer", interval=POPEN), "interval: expected str"),
}


@pytest.mark.parametrize("attack", CONFIGURATIONS)
@pytest.mark.parametrize("nested", [False, True], ids=["one file", "two files"])
def test_a_configuration_builds_only_what_an_option_asks_for(attack, nested, place, tiny_config):
    options, says = CONFIGURATIONS[attack]  # more of them in tests/test_guard
    if nested:
        (place / "trainer.yaml").write_text(yaml.safe_dump(options))
    (place / "attack.yaml").write_text(yaml.safe_dump({"trainer": "trainer.yaml" if nested else options}))
    assert_refused(run("fit", "--config", tiny_config, "--config", "attack.yaml"), says)
    assert not (place / "ran").exists()
    assert_no_run(place)


@pytest.mark.parametrize("where", ["a configuration", "a section of one", "a section on the command line"])
def test_a_pipe_as_a_configuration_is_refused(where, place, tiny_config):
    os.mkfifo("pipe")
    (place / "section.yaml").write_text("trainer: pipe")
    options = {
        "a configuration": ("--config", "pipe"),
        "a section of one": ("--config", "section.yaml"),
        "a section on the command line": ("--trainer", "pipe"),
    }
    assert_refused(run("fit", "--config", tiny_config, *options[where]), "pipe: not a regular file")


# --- a run of a stranger ---

ADAPTER = """
from pathlib import Path
from peclip.model import TemporalDynamicAdapter

Path("ran").touch()


class Third(TemporalDynamicAdapter):
    pass
"""


@pytest.fixture
def theirs(place, tiny_run, monkeypatch):
    """A run whose checkpoints name a class of another installed package, which leaves a file when it is imported."""
    (place / "site").mkdir()
    (place / "site/third_party.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(place / "site")
    monkeypatch.delitem(sys.modules, "third_party", raising=False)
    shutil.copytree(tiny_run, "theirs")
    for name in ("best", "last"):
        path = place / f"theirs/checkpoints/{name}.ckpt"
        content = torch.load(path, weights_only=True)
        content["peclip"]["adapters"]["vision.mlp"]["class_path"] = "third_party.Third"
        torch.save(content, path)
    return place / "theirs"


REFUSED = "class 'third_party.Third' is not part of peclip, and importing third_party may run anything"


@pytest.mark.parametrize("command", [("predict",), ("test",), ("fit", "--config", None)], ids=lambda words: words[0])
def test_the_model_of_a_stranger_imports_no_other_package(command, place, theirs, tiny_config):
    words = [tiny_config if word is None else word for word in command]
    option = "--init_from" if "fit" in command else "--ckpt_path"
    assert_refused(run(*words, option, theirs), "theirs/checkpoints/best.ckpt", REFUSED, "--trust true")
    assert not (place / "ran").exists()


@pytest.mark.parametrize("command", ["export", "recognize", "bench eval"])
def test_no_command_that_reads_models_imports_another_package(command, place, theirs):
    options = {
        "export": (theirs, "--out", "package"),
        "recognize": ("x.mp4", "--model", theirs, "--faces", "none"),
        "bench eval": ("--model", theirs, "--device", "cpu"),
    }
    assert_refused(run(*command.split(), *options[command]), REFUSED)
    assert not (place / "ran").exists()
    if command == "export":
        assert run("export", *options[command], "--trust", "true").status == 0
        assert (place / "ran").exists()


def test_a_model_is_trusted_by_an_option(place, theirs):
    result = run("predict", "--ckpt_path", theirs, "--trust", "true")
    assert result.status == 0, result.err
    assert (place / "ran").exists()
    assert "trust" not in yaml.safe_load((theirs / "predict_0/config.yaml").read_text())


def test_a_class_that_the_user_names_may_be_named_by_a_model(place, theirs, tiny_config):
    options = yaml.safe_load(tiny_config.read_text())
    adapters = yaml.safe_load((theirs / "config.yaml").read_text())["model"]["net"]["adapters"]
    options["model"]["net"]["adapters"] = adapters | {"vision.mlp": "third_party.Third"}
    (place / "mine.yaml").write_text(yaml.safe_dump(options))
    result = run("test", "--ckpt_path", theirs, "--config", "mine.yaml")
    assert result.status == 0, result.err


def test_trust_belongs_on_the_command_line(place, theirs, tiny_config):
    (place / "trust.yaml").write_text("trust: true")
    result = run("test", "--config", tiny_config, "--config", "trust.yaml", "--ckpt_path", theirs)
    assert_refused(result, "trust.yaml: trust is an option of the command line alone")
    assert not (place / "ran").exists()


def test_of_the_run_of_a_stranger_only_options_of_data_and_model_are_taken(place, tiny_run):
    shutil.copytree(tiny_run, "theirs")
    options = yaml.safe_load((place / "theirs/config.yaml").read_text())
    options["trainer"] |= {"logger": POPEN, "callbacks": [POPEN], "strategy": "os.system", "max_epochs": []}
    options |= {
        "folder": "elsewhere",
        "trust": True,
        "ckpt_path": "nowhere",
        "config": "nowhere.yaml",
        "out": "nowhere",
    }
    options["model"] = {"class_path": "subprocess.Popen", "init_args": options["model"] | {"loss": POPEN}}
    (place / "theirs/config.yaml").write_text(yaml.safe_dump(options))
    result = run("test", "--ckpt_path", "theirs")
    assert result.status == 0, result.err
    assert sorted(path.name for path in place.iterdir()) == ["theirs"]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"augment": POPEN}, "data.augment names 'subprocess.Popen', but has options alone"),
        ({"augment": "secret.yaml"}, "theirs/config.yaml: data.augment is 'secret.yaml', expected options below it"),
        ({"manifest": "http://127.0.0.1:9/x.csv"}, "theirs/config.yaml: data.manifest is the address http://"),
        ({"labels_": POPEN}, "data.labels_"),
    ],
    ids=["class", "file", "address", "unknown"],
)
def test_options_of_the_data_of_a_stranger_are_refused(entry, says, place, tiny_run):
    shutil.copytree(tiny_run, "theirs")
    options = yaml.safe_load((place / "theirs/config.yaml").read_text())
    options["data"] |= entry
    (place / "theirs/config.yaml").write_text(yaml.safe_dump(options))
    assert_refused(run("predict", "--ckpt_path", "theirs"), says)


def test_the_configuration_of_a_stranger_that_is_a_bomb_is_refused(place, tiny_run):
    shutil.copytree(tiny_run, "theirs")
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (place / "theirs/config.yaml").write_text(bomb)
    for command in (("predict", "--ckpt_path", "theirs"), ("export", "theirs", "--out", "package")):
        assert_refused(run(*command), "theirs/config.yaml line 6: more than 200,000 values")


# --- other files ---


def test_the_last_checkpoint_of_a_run_is_read_as_carefully_as_any(place, tiny_run, tiny_config):
    shutil.copytree(tiny_run, "runs/tiny/version_0")
    torch.save({"state_dict": {}, "loops": Payload()}, "runs/tiny/version_0/checkpoints/last.ckpt")
    (place / "runs/tiny/version_0/checkpoints/previous.ckpt").unlink()
    assert_refused(run("fit", "--config", tiny_config, "--ckpt_path", "last"), "last.ckpt: refused")
    assert not (place / "ran").exists()


def test_a_backbone_that_is_a_pickle_is_refused(place, tiny_clip, tiny_config):
    shutil.copytree(tiny_clip, "clip")
    (place / "clip/model.safetensors").unlink()
    torch.save({"logit_scale": Payload()}, "clip/pytorch_model.bin")
    assert_refused(run("fit", "--config", tiny_config, "--model.net.backbone", "clip"), "'clip'")
    assert not (place / "ran").exists()
    assert_no_run(place)
