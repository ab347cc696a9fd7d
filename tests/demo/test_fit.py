"""The demos that come with peclip: a small CLIP, and two tasks that reach the scores of the README."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from peclip.data.augment import normalize
from peclip.data.manifest import Manifest
from peclip.data.media.clip import read_clip
from peclip.demo import CLIP
from peclip.demo.tasks import demo
from peclip.model import PEClip
from tests.runs import trained

ROOT = Path(__file__).parents[2]
ASSET = CLIP


def test_the_clip_is_small_and_in_half_precision():
    assert sum(Path(str(file)).stat().st_size for file in ASSET.iterdir()) <= 8e6
    with safe_open(str(ASSET / "model.safetensors"), "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118


def test_the_clip_tells_the_expressions_of_the_last_frames_but_not_which_of_all_frames_came_last(tmp_path):
    manifest = Manifest.read(demo(tmp_path, train=1, test=5)).select("test")
    net = PEClip(manifest.labels, "demo", adapters={}, prompts=None).eval()
    clips = torch.stack([read_clip(manifest.clip(row).path, 16, 96) for row in range(len(manifest))])
    truth = torch.tensor([net.labels.index(label) for label in manifest.table["label"]])
    with torch.inference_mode():
        last, whole = (
            (net(normalize(some, net.clip_format)).argmax(1) == truth).float().mean()
            for some in (clips[:, -2:], clips[:, ::2])
        )
    assert last >= 0.75  # chance is 0.14
    assert whole <= 0.5


def metrics_of(folder, *names):
    configs = [word for name in names for word in ("--config", ROOT / "configs" / name)]
    return json.loads((trained(folder, *configs) / "metrics.json").read_text())


@pytest.mark.stress
def test_the_demo_recognizes_what_a_face_comes_to_and_zero_shot_clip_does_not(demo_run):
    metrics = json.loads((demo_run / "metrics.json").read_text())
    assert metrics["war"] >= 0.88
    assert metrics["zero_shot"]["war"] <= 0.50


@pytest.mark.stress
def test_the_demo_needs_the_temporal_adapter(tmp_path):
    assert metrics_of(tmp_path, "demo.yaml", "ablations/no_tda.yaml")["war"] <= 0.55


@pytest.mark.stress
def test_the_order_of_frames_is_recognized_with_the_temporal_adapter(tmp_path):
    assert metrics_of(tmp_path, "demo_order.yaml")["war"] >= 0.95


@pytest.mark.stress
def test_the_order_of_frames_is_not_recognized_without_it(tmp_path):
    assert metrics_of(tmp_path, "demo_order.yaml", "ablations/no_tda.yaml")["war"] <= 0.60
