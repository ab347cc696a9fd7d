"""The demos that come with peclip: a small CLIP, and two tasks that reach the scores of the README."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from peclip.clip_format import ClipFormat
from peclip.data.augment import normalize
from peclip.data.datamodule import VideoDataModule
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


def test_the_clip_tells_expressions_of_people_it_has_not_seen_by_their_action_units(tmp_path):
    data = VideoDataModule(str(demo(tmp_path, train=1, test=4, frames=8)), num_workers=0)
    data.clip_format = ClipFormat(4, 96)
    net = PEClip(data.labels, "demo", adapters={}, prompts=None).eval()
    with torch.inference_mode():
        hits = [
            net(normalize(batch.video, data.clip_format)).argmax(1) == batch.label for batch in data.test_dataloader()
        ]
    assert torch.cat(hits).float().mean() >= 0.75  # chance is 0.14


def metrics_of(folder, *names):
    configs = [word for name in names for word in ("--config", ROOT / "configs" / name)]
    return json.loads((trained(folder, *configs) / "metrics.json").read_text())


@pytest.mark.slow
def test_the_demo_recognises_seven_expressions(tmp_path):
    metrics = metrics_of(tmp_path, "demo.yaml")
    assert metrics["war"] >= 0.90
    assert metrics["uar"] >= 0.88
    assert metrics["zero_shot"]["war"] < metrics["war"]


@pytest.mark.slow
def test_the_order_of_frames_is_recognised_with_the_temporal_adapter(tmp_path):
    assert metrics_of(tmp_path, "demo_order.yaml")["war"] >= 0.95


@pytest.mark.slow
def test_the_order_of_frames_is_not_recognised_without_it(tmp_path):
    assert metrics_of(tmp_path, "demo_order.yaml", "ablations/no_tda.yaml")["war"] <= 0.60
