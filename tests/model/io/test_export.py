import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from peclip import PEClip
from peclip.model import load_released, read_trained
from tests.conftest import write_tiny_clip
from tests.lacking import needs
from tests.model.released_small import as_saved, small_state
from tests.model.small import build, clips, logits_in_a_process
from tests.runs import LABELS, run, write_data


@pytest.fixture(scope="module")
def package(tiny_run, tmp_path_factory):
    """The package of a run of the command; not to be written to."""
    folder = tmp_path_factory.mktemp("export") / "package"
    result = run("export", tiny_run, "--out", folder)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"{folder}: a package of ")
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "pe_clip.pth"
    torch.save(as_saved(small_state()), path)
    return path


def logits(net, video):
    with torch.no_grad():
        return net(video)


@pytest.mark.slow
def test_logits_come_back_in_a_new_process(package, tiny_run, tmp_path):
    expected = logits(PEClip.from_trained(read_trained(tiny_run)), clips())
    assert (logits_in_a_process(tmp_path, package) - expected).abs().max() <= 1e-6


def test_the_card_has_the_scores_of_the_run(package, tiny_run):
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    text = (package / "README.md").read_text()
    assert f"On {metrics['clips']} test clips:" in text
    assert f"| WAR | {metrics['war']:.2%} | {metrics['zero_shot']['war']:.2%} |" in text
    assert "| source | manifest.csv |" in text
    assert "| max_epochs | 2 |" in text


def test_the_last_checkpoint_does_not_get_the_scores_of_the_best(tiny_run, tmp_path):
    assert run("export", tiny_run / "checkpoints" / "last.ckpt", "--out", tmp_path / "last").status == 0
    text = (tmp_path / "last" / "README.md").read_text()
    assert "Not measured." in text
    assert "| max_epochs | 2 |" in text


def test_the_precision_is_an_option(tiny_run, package, tmp_path):
    assert run("export", tiny_run, "--out", tmp_path / "half", "--dtype", "bf16").status == 0
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bf16"
    halves = {value.dtype for value in read_trained(tmp_path / "half").state.values()}
    assert halves == {torch.bfloat16}
    assert {value.dtype for value in read_trained(package).state.values()} == {torch.float32}


@pytest.mark.slow
def test_the_format_is_an_option(tmp_path):
    """A model of one block a tower and no part: tracing takes a second a block, and all parts are in the tests of ONNX."""
    pytest.importorskip("onnxruntime", reason=needs("ONNX"))
    package = tmp_path / "package"
    build(write_tiny_clip(tmp_path / "clip", blocks=1), adapters={}, prompts=None).save_pretrained(package)
    result = run("export", package, "--out", tmp_path, "--format", "onnx")
    assert (result.status, result.err) == (0, "")
    assert "model.onnx: 0." in result.out
    assert "differ from those of torch by at most " in result.out
    again = run("export", package, "--out", tmp_path / "model.onnx", "--format", "onnx")
    assert (again.status, again.out) == (2, "")
    assert again.err.endswith("model.onnx exists: choose another name, or remove it\n")
    halved = run("export", package, "--out", tmp_path / "half", "--format", "onnx", "--dtype", "bf16")
    assert halved.err == "peclip: error: dtype is bf16, but an ONNX file has fp32, fp16 or int8: bf16 is for packages\n"
    named = run("export", package, "--out", tmp_path / "own.onnx")
    assert (named.status, named.out) == (2, "")
    assert named.err.endswith("own.onnx, but format is package, which is a folder: set it to onnx for a file\n")
    eighth = run("export", package, "--out", tmp_path / "eighth", "--dtype", "int8")
    assert eighth.err == "peclip: error: dtype is int8, but a package has fp32 or bf16: fp16 and int8 are for onnx\n"


@pytest.mark.parametrize("labels", ["[a, b, c, d]", "a,b,c,d"])
def test_a_released_checkpoint_becomes_a_package(released, tmp_path, labels):
    result = run("import", released, "--out", tmp_path / "package", "--labels", labels, "--scope", "clip")
    assert (result.status, result.err) == (0, "")
    imported, net = read_trained(tmp_path / "package"), load_released(released, scope="clip")
    assert imported.config.labels == tuple("abcd")
    assert imported.config.clip_format == net.clip_format
    again = PEClip.from_trained(replace(imported, backbone=read_trained(released).backbone))
    video = clips(side=net.image_size)
    assert torch.equal(logits(again, video), logits(net.eval(), video))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("[a, b, c]", "3 names, but {} has 4 classes"),
        ("a,b,c", "3 names, but {} has 4 classes"),
        ("a,b,c,c", "duplicate label 'c'"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(released, tmp_path, labels, says):
    result = run("import", released, "--out", tmp_path / "package", "--labels", labels)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"peclip: error: labels: {says.format(released)}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_released_checkpoint_is_refused(tiny_run, tmp_path):
    result = run("import", tiny_run / "checkpoints" / "best.ckpt", "--out", tmp_path / "package")
    assert "best.ckpt is not a released PE-CLIP checkpoint: " in result.err


def test_a_package_of_other_labels_is_refused(package, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = write_data(tmp_path / "other", labels=(*LABELS[:2], "fear"))
    result = run("test", "--config", tiny_config, "--ckpt_path", package, "--data.manifest", other)
    assert result.status == 2
    assert "manifest.csv line 18: unknown label 'fear', expected one of happiness, sadness, anger" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_package_of_another_backbone_is_refused(package, tmp_path):
    changed = tmp_path / "package"
    changed.mkdir()
    for path in Path(package).iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"fingerprint": "0123456789abcdef"}))
    result = run("recognize", "a.mp4", "--model", changed, "--faces", "none", "--out", tmp_path / "out")
    assert result.status == 2
    assert f"{changed} was trained on another CLIP" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_run_and_its_package_are_one_model(package, tiny_run):
    once, again = PEClip.from_pretrained(tiny_run), PEClip.from_pretrained(package)
    assert torch.equal(logits(once, clips()), logits(again, clips()))


def test_training_cannot_go_on_from_a_package(package, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, "--ckpt_path", package)
    assert result.status == 2
    assert result.err.endswith("no checkpoint to resume from, expected a .ckpt file or the folder of a run\n")


def test_a_package_keeps_the_name_of_its_backbone(tiny_run, tmp_path):
    result = run("export", tiny_run, "--out", tmp_path / "package", "--backbone", tmp_path)
    assert result.status == 2
    assert "backbone is for onnx: a package keeps the name that its CLIP had in the training" in result.err
    assert not (tmp_path / "package").exists()
