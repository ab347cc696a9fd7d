"""Several views of each clip in an evaluation: shifted in time and space, their probabilities averaged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from peclip.clip_format import Views
from peclip.data.augment import into_views
from peclip.data.media.clip import segment_indices
from peclip.errors import InputError
from peclip.model import PEClip
from peclip.model.network import logits_of
from tests.runs import run

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.parametrize(("frames", "num"), [(1, 3), (2, 3), (3, 3), (5, 4), (7, 4), (100, 16)])
def test_a_view_in_time_takes_its_piece_of_every_segment(frames, num):
    assert segment_indices(frames, num, views=1).tolist() == segment_indices(frames, num).tolist()
    for views in (2, 3):
        chosen = segment_indices(frames, num, views=views)
        assert len(chosen) == views * num
        assert (np.diff(chosen) >= 0).all()
        assert 0 <= chosen.min() <= chosen.max() < frames
        for view in range(views):
            middle = (np.arange(num) + (view + 0.5) / views) * frames / num
            assert chosen[view::views].tolist() == (
                np.floor(middle).tolist() if frames >= num else segment_indices(frames, num).tolist()
            )


def test_crops_go_from_left_to_right_and_one_view_changes_nothing():
    video = torch.arange(16.0).expand(2, 6, 3, 16, 16).clone() + torch.arange(6.0)[None, :, None, None, None] * 100
    assert into_views(video, Views()) is video
    views = into_views(video, Views(clips=2, crops=3))
    assert views.shape == (2, 6, 3, 3, 16, 16)
    times = [(each[0, :, 0, 8, 8] / 100).floor().tolist() for each in views.unbind(1)]
    assert times == [[0.0, 2.0, 4.0]] * 3 + [[1.0, 3.0, 5.0]] * 3
    means = [each[0, 0].mean().item() for each in views.unbind(1)[:3]]  # the ramp is 0 to 15, a crop 14 wide
    assert means == pytest.approx([6.5, 7.5, 8.5], abs=1e-3)


def test_the_probabilities_are_the_means_over_the_views(tiny_clip):
    net = PEClip(["happiness", "anger"], str(tiny_clip)).eval()
    video = torch.randn(3, 4, 2, 3, 32, 32)
    with torch.no_grad():
        expected = torch.stack([net(view).softmax(-1) for view in video.unbind(1)]).mean(0)
        found = logits_of(net, video)
        assert torch.allclose(found.exp(), expected, atol=1e-6)
        assert torch.equal(logits_of(net, video[:, 0]), net(video[:, 0]))
        assert torch.allclose(logits_of(net, video[1:2]), found[1:2], atol=1e-4)


@pytest.mark.parametrize(
    ("given", "says"), [({"clips": 0}, "clips is 0, expected 1 to 32"), ({"crops": 33}, "crops is 33")]
)
def test_numbers_out_of_range_are_refused(given, says):
    with pytest.raises(InputError, match=says):
        Views(**given)


@pytest.mark.slow
def test_every_command_reports_its_views_and_writes_one_row_per_clip(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--ckpt_path", tiny_run, "--trainer.accelerator", "cpu", "--data.views", "{clips: 2, crops: 2}")
    results = {}
    for command, size in (("test", 1), ("test", 4), ("predict", 2)):
        folder = f"{command}_{size}"
        result = run(command, *words, "--data.eval_batch_size", str(size), "--out", folder)
        assert (result.status, result.err) == (0, ""), result.err
        rows = pd.read_csv(f"{folder}/predictions.csv")
        assert rows["path"].is_unique
        results[folder] = rows
        if command != "predict":
            assert json.loads((tmp_path / folder / "metrics.json").read_text())["views"] == {"clips": 2, "crops": 2}
            assert "4 views of each clip: 2 in time, 2 in space" in " ".join(result.out.split())
    assert len(results["test_1"]) == len(results["test_4"])
    probabilities = [results[name].select_dtypes("number").to_numpy() for name in ("test_1", "test_4")]
    np.testing.assert_allclose(*probabilities, atol=1e-5)
    refused = run("test", *words[:4], "--data.views.clips", "0")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "data.views.clips is 0, expected 1 to 32" in refused.err
    assert "views" not in json.loads((tiny_run / "metrics.json").read_text())
    plain = pd.read_csv(tiny_run / "predictions.csv").select_dtypes("number").to_numpy()
    assert not np.allclose(plain, probabilities[0], atol=1e-5)


def test_shards_of_other_views_are_refused(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("predict", "--ckpt_path", tiny_run, "--trainer.accelerator", "cpu", "--shards", "shards")
    assert run(*words).status == 0
    refused = run(*words, "--data.views.crops", "2")
    assert "begun with other data.views" in refused.err
