"""Files from strangers run no code; each attack would leave a file ``ran`` behind. Checkpoints: tests/model/test_torch_file."""

import os
import shutil

import pytest
import torch
import yaml

from tests.runs import run
from tests.test_bad_input import assert_no_run, assert_refused


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

CONFIGURATIONS = {
    "a module that acts when it is imported": ({"logger": {"class_path": "this.Logger"}}, "names 'this.Logger'"),
    "a function for a callback to call": (
        callback(f"{FROM_LIGHTNING}.LambdaCallback", on_fit_start="os.abort"),
        "on_fit_start is the function abort",
    ),
    "a function with a default of its own": (
        callback(f"{FROM_LIGHTNING}.BackboneFinetuning", lambda_func="os.abort"),
        "lambda_func is the function abort",
    ),
    "a class in the place of a function": (
        callback(f"{FROM_LIGHTNING}.LambdaCallback", on_fit_start=POPEN),
        "on_fit_start names 'subprocess.Popen'",
    ),
    "a class among the arguments": (callback(f"{FROM_LIGHTNING}.Timer", interval=POPEN), "interval names"),
    "a callback for a logger": ({"logger": {"class_path": f"{FROM_LIGHTNING}.Timer"}}, "trainer.logger: "),
    "a logger for a callback": (callback("lightning.pytorch.loggers.CSVLogger", save_dir="x"), "trainer.callbacks: "),
}


@pytest.mark.parametrize("attack", CONFIGURATIONS)
@pytest.mark.parametrize("nested", [False, True], ids=["one file", "two files"])
def test_a_configuration_builds_only_classes_of_the_expected_kind(attack, nested, place, tiny_config):
    options, says = CONFIGURATIONS[attack]
    if nested:
        (place / "trainer.yaml").write_text(yaml.safe_dump(options))
    (place / "attack.yaml").write_text(yaml.safe_dump({"trainer": "trainer.yaml" if nested else options}))
    assert_refused(run("fit", "--config", tiny_config, "--config", "attack.yaml"), says)
    assert not (place / "ran").exists()
    assert_no_run(place)


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
