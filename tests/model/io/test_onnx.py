import json
import runpy
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.torch_version import TorchVersion

from peclip.clip_format import ClipFormat
from peclip.data.augment import normalize
from peclip.data.media.clip import read_clip, segment_indices
from peclip.errors import InputError
from peclip.model import (
    Adapter,
    PEClip,
    SharedAdapter,
    TemporalDynamicAdapter,
    TemporalHead,
    load_released,
    read_trained,
)
from peclip.model.fast.gru import GRU
from peclip.model.io import onnx
from peclip.model.io.onnx import TOLERANCE, write_onnx
from peclip.model.io.onnx_dtype import in_dtype
from tests.conftest import write_tiny_clip
from tests.lacking import NODE_MODULES, needs
from tests.model.released_small import as_saved, small_state
from tests.model.small import LABELS, build, clips, stir

EXAMPLES = Path(__file__).parents[3] / "examples"

runtime = pytest.importorskip("onnxruntime", reason=needs("ONNX"))


def test_a_torch_that_is_too_old_is_named(net, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.12.1+cu130"))
    with pytest.raises(
        InputError, match=r"^ONNX needs torch 2\.13, but 2\.12\.1\+cu130 is installed: pip install 'torch>=2\.13'$"
    ):
        write_onnx(net, tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def net(tiny_clip):
    return stir(build(tiny_clip, logit_scale=50.0, num_frames=5)).eval()


@pytest.fixture(scope="module")
def packaged(net, tmp_path_factory):
    """The same model, read from its package."""
    folder = tmp_path_factory.mktemp("package")
    net.save_pretrained(folder)
    return PEClip.from_trained(read_trained(folder))


@pytest.fixture(scope="module")
def path(packaged, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "made" / "model.onnx"
    parity = write_onnx(packaged, path)
    assert 0 <= parity.mean <= parity.worst <= TOLERANCE
    assert (parity.agreed, parity.clips) == (5, 5)
    return path


@pytest.fixture(scope="module")
def one_block(tmp_path_factory):
    """A CLIP of one block a tower: tracing takes a second a block."""
    return write_tiny_clip(tmp_path_factory.mktemp("one_block"), blocks=1)


def answer(path, video):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"video": video.numpy()})[0])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "frames"), [(1, 1), (1, 16), (2, 3), (4, 7)])
def test_clips_of_any_number_and_length_get_the_logits_of_the_model_that_was_packaged(net, path, count, frames):
    video = clips(count, frames, seed=count)
    with torch.no_grad():
        expected = net(video)
    assert (answer(path, video) - expected).abs().max() <= 1e-4


@pytest.mark.slow
def test_a_clip_is_answered_alike_alone_and_in_a_batch(path):
    video = clips(3, 4)
    assert torch.allclose(answer(path, video)[1:2], answer(path, video[1:2]), atol=1e-5)


@pytest.mark.slow
def test_the_model_is_left_as_it_was(packaged, path):
    assert any(isinstance(module, GRU) for module in packaged.modules())
    assert not any(isinstance(module, onnx.Recurrence) for module in packaged.modules())


@pytest.mark.slow
def test_the_metadata_say_how_to_feed_the_file(net, path):
    found = runtime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    assert json.loads(found["labels"]) == list(LABELS)
    assert json.loads(found["texts"]) == net.config.texts
    entries = json.loads(found["preprocessing"])
    assert (entries["num_frames"], entries["image_size"], entries["colours"]) == (5, 32, "red, green, blue")
    assert {"resize", "crop", "frames"} <= entries.keys()
    assert (found["dtype"], found["independent_clips"]) == ("fp32", "true")
    frames = torch.randint(0, 256, (1, 2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (np.array(entries[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    by_metadata = torch.from_numpy((frames.numpy() * np.float32(entries["scale"]) - mean) / std)
    assert torch.allclose(by_metadata, normalize(frames, ClipFormat()), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "smaller", "worst"), [("fp16", 0.75, 0.5), ("int8", 0.9, 5.0)])
def test_fewer_bits_make_a_smaller_file_with_nearly_the_same_logits(packaged, path, tmp_path, dtype, smaller, worst):
    import onnx as package

    made = tmp_path / "made.onnx"
    package.save(in_dtype(package, package.load(path), dtype, tmp_path), made)
    assert made.stat().st_size < smaller * path.stat().st_size
    parity = onnx.compare(packaged, made, runtime, dtype)
    assert 0 < parity.mean <= parity.worst < worst
    assert parity.agreed >= parity.clips - 1
    session = runtime.InferenceSession(str(made))
    assert {item.type for item in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}


def test_clips_that_depend_on_each_other_are_declared(tmp_path, one_block):
    adapters = {"vision.mlp": partial(TemporalDynamicAdapter, scope="batch")}
    assert not onnx._is_independent(stir(build(one_block, adapters=adapters, prompts=None)).eval())


@pytest.fixture
def frames(tmp_path):
    """Seven frames of a clip, in the size of the model."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, frame in enumerate(pixels):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_the_example_answers_as_peclip_does(net, path, frames, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["onnx_clip.py", str(path), *map(str, sorted(frames.iterdir()))])
    runpy.run_path(str(EXAMPLES / "onnx_clip.py"))
    assert_answers(capsys.readouterr().out, net, frames)


class Session:
    """Stands for a file that takes 33 frames of one pixel."""

    def __init__(self, model):
        pixels = {"image_size": 1, "num_frames": 33, "scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3}
        self.custom_metadata_map = {"preprocessing": json.dumps(pixels), "labels": '["a", "b"]', "temperature": "1"}

    def get_modelmeta(self):
        return self

    def run(self, names, video):
        return [np.zeros((1, 2))]


@pytest.mark.parametrize("length", [1, 32, 33, 36, 40, 66, 100])
def test_the_example_chooses_the_frames_that_peclip_chooses(length, monkeypatch):
    monkeypatch.setattr(runtime, "InferenceSession", Session)
    monkeypatch.setattr(Image, "open", lambda path: Image.new("RGB", (1, 1)))
    monkeypatch.setattr(sys, "argv", ["onnx_clip.py", "model.onnx", *map(str, range(length))])
    chosen = runpy.run_path(str(EXAMPLES / "onnx_clip.py"))["chosen"]
    assert [int(path) for path in chosen] == segment_indices(length, 33).tolist()


@pytest.mark.slow
@pytest.mark.skipif(not NODE_MODULES, reason=needs("onnxruntime-web"))
def test_the_example_for_pages_answers_as_peclip_does(net, path, frames, tmp_path):
    video = video_of(net, frames)
    clip = {
        "video": video.flatten().tolist(),
        "dims": video.shape,
        "labels": net.labels,
        "temperature": net.temperature,
    }
    (tmp_path / "clip.json").write_text(json.dumps(clip))
    shutil.copy(EXAMPLES / "onnx_clip.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    command = ["node", "onnx_clip.mjs", path, "clip.json"]
    result = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert_answers(result.stdout, net, frames)


def video_of(net, folder):
    """The clip as peclip evaluates it: (1, T, 3, H, W)."""
    clip = read_clip(folder, net.clip_format.num_frames, net.image_size)
    return normalize(clip[None], net.clip_format)


def assert_answers(printed, net, folder):
    rows = dict(line.split("\t") for line in printed.splitlines())
    with torch.no_grad():
        shares = net.probabilities(net(video_of(net, folder)))[0]
    assert {label: float(share) for label, share in rows.items()} == pytest.approx(
        dict(zip(net.labels, shares.tolist(), strict=True)), abs=2e-4
    )


@pytest.mark.slow
def test_the_path_of_the_program_is_not_in_the_file(path):
    content = path.read_bytes()
    assert b"site-packages" not in content
    assert str(Path(onnx.__file__).parents[2]).encode() not in content


@pytest.mark.stress
def test_the_other_recurrences_are_written(tiny_clip, tmp_path):
    """The model of :func:`path` has a GRU."""
    adapters = {
        f"vision.mlp[{block}:{block + 1}]": partial(TemporalDynamicAdapter, rnn=rnn)
        for block, rnn in enumerate(("lstm", "rnn"))
    }
    net = stir(build(tiny_clip, adapters=adapters, prompts=None)).eval()
    assert write_onnx(net, tmp_path / "model.onnx").worst <= TOLERANCE


@pytest.mark.stress
@pytest.mark.parametrize("gates", [3, 4, 1], ids=["GRU", "LSTM", "RNN"])
def test_every_recurrence_of_a_released_checkpoint_is_written(tmp_path, gates):
    net = load_released(as_saved(small_state(gates)), scope="clip").eval()
    assert write_onnx(net, tmp_path / "model.onnx").worst <= TOLERANCE


class Counting(Adapter):
    """Multiplies by what the exporter takes for a constant and is another at every call."""

    calls = 0

    def __init__(self, width):
        super().__init__()

    def forward(self, x, frames):
        Counting.calls += 1
        return x * Counting.calls


class Branching(Adapter):
    """Does what depends on values, which no graph holds."""

    def __init__(self, width):
        super().__init__()

    def forward(self, x, frames):
        return x if float(x.sum()) > 0 else -x


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (Counting, "the ONNX file was not kept: on 1 clip of 1 frame its logits differ"),
        (Branching, "cannot be written"),
    ],
)
def test_a_file_that_would_be_wrong_is_not_kept(one_block, tmp_path, adapter, message):
    net = build(one_block, adapters={"vision.mlp": adapter}, prompts=None).eval()
    with pytest.raises(InputError, match=message) as caught:
        write_onnx(net, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"ONNX needs the package onnxscript.*pip install 'peclip\[onnx\]'"):
        write_onnx(net, tmp_path / "model.onnx")


def test_a_place_that_cannot_be_written_is_named(net, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"model.onnx cannot be written: (Not a directory|File exists)"):
        write_onnx(net, tmp_path / "file" / "model.onnx")


@pytest.mark.stress
@pytest.mark.parametrize(
    "adapters",
    [{"vision.attention": SharedAdapter}, {}, {"vision.mlp": TemporalDynamicAdapter}],
)
def test_models_with_one_part_or_none_are_written(one_block, tmp_path, adapters):
    """The file with all parts is :func:`path`; the command writes one of none in the tests of export."""
    net = stir(build(one_block, adapters=adapters, prompts=None)).eval()
    assert write_onnx(net, tmp_path / "model.onnx").worst <= TOLERANCE


class OfTheLastState(TemporalHead):
    """Reads the state that a recurrence ends in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(width, width, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=1) + self.rnn(x)[1][-1]


class OfReLU(TemporalHead):
    """Has a recurrence for which ONNX has no operator with the same values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(width, width, nonlinearity="relu", batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0].mean(dim=1)


@pytest.mark.slow
def test_the_last_state_of_a_recurrence_is_written_and_another_recurrence_is_refused_in_one_line(one_block, tmp_path):
    parity = write_onnx(build(one_block, temporal=OfTheLastState), tmp_path / "state.onnx")
    assert parity.agreed == parity.clips
    with pytest.raises(InputError, match="this model cannot be written as ONNX"):
        write_onnx(build(one_block, temporal=OfReLU), tmp_path / "relu.onnx")
