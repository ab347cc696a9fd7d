import zipfile

"""Mistakes in the choice of a backbone or checkpoint: one line each, status 2, and nothing half done."""

import os
import shutil

import pytest
import torch

from tests.bad_input.mistakes import assert_no_run, assert_refused, truncated
from tests.conftest import write_tokenizer
from tests.runs import run


def test_a_backbone_that_is_not_there(place, config):
    result = run("fit", "--config", config, "--model.net.backbone", "openai/clip-vit-base-patch16")
    assert_refused(result, "'openai/clip-vit-base-patch16'", "hf download openai/clip-vit-base-patch16", "demo")
    assert_no_run(place)


def test_a_folder_that_holds_no_backbone(place, config):
    (place / "clip").mkdir()
    write_tokenizer(place / "clip")
    assert_refused(run("fit", "--config", config, "--model.net.backbone", "clip"), "'clip'", "config.json")
    assert_no_run(place)


def test_a_torn_backbone(place, config, tiny_clip):
    shutil.copytree(tiny_clip, place / "clip")
    truncated(place / "clip/model.safetensors")
    assert_refused(run("fit", "--config", config, "--model.net.backbone", "clip"), "'clip'")
    assert_no_run(place)


# --- checkpoints ---


def torn(source, path):
    path.write_bytes(source.read_bytes()[:5000])


def flipped(source, path):
    raw = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as file:  # in a weight, which every command reads
        weight = file.read("archive/data/0")
    raw[raw.index(weight) + len(weight) // 2] ^= 0xFF
    path.write_bytes(raw)


def foreign(source, path):
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


def malicious(source, path):
    torch.save({"state_dict": {}, "peclip": Payload()}, path)


def lacking(source, path):
    content = torch.load(source, weights_only=True)
    del content["state_dict"]["net.prompts.tokens.0"]
    torch.save(content, path)


def no_checkpoint(source, path):
    path.write_text("no checkpoint")


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("break_it", [torn, flipped, foreign, malicious, lacking, no_checkpoint])
def test_a_checkpoint_that_cannot_be_read(break_it, command, place, config, tiny_run):
    break_it(tiny_run / "checkpoints" / "last.ckpt", place / "broken.ckpt")
    further = ("--trainer.max_epochs", "3") if command == "fit" else ()  # its training has ended
    result = run(command, "--config", config, "--ckpt_path", "broken.ckpt", *further)
    assert_refused(result, "prompts.tokens.0" if break_it is lacking else "broken.ckpt")
    assert not (place / "ran").exists()
    assert_no_run(place)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_is_not_there(command, place, config):
    result = run(command, "--config", config, "--ckpt_path", "nowhere/best.ckpt")
    assert_refused(result, "nowhere/best.ckpt")
    assert_no_run(place)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_of_another_label_set(command, place, config, data, tiny_run):
    before = files_of(tiny_run)
    data.write_text(data.read_text().replace(",sadness,", ",fear,"))
    result = run(command, "--config", config, "--ckpt_path", tiny_run)
    says = (
        ("labels in the trained order", "happiness, anger, fear")
        if command == "fit"
        else ("unknown label 'fear'", "manifest.csv line")
    )
    assert_refused(result, "happiness, sadness, anger", *says)
    assert_no_run(place)
    assert files_of(tiny_run) == before


def test_a_training_that_resumes_with_other_class_texts(place, config, tiny_run):
    result = run("fit", "--config", config, "--ckpt_path", tiny_run, "--model.net.texts", "names")
    assert_refused(
        result, "tiny", "model.net.texts has 'happiness' for 'happiness'", "was trained with another class text, 'Cheek"
    )
    assert_no_run(place)


def test_an_onnx_file_is_no_model_to_load(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"anything")
    result = run("recognize", "a.mp4", "--model", tmp_path / "model.onnx")
    assert_refused(
        result, "model.onnx: is an ONNX file, which other programs run: name the run or package that it was made of"
    )
