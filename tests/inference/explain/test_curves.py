"""Omitted frames, and curves of deletion and insertion, of a model whose reasons are known."""

import numpy as np
import pytest
import torch

from peclip.inference.explain.curves import BatchedModel, curves, passes
from peclip.inference.explain.relevance import margin


class Corner:
    """Answers class 0 by the brightness of the upper left quarter of the first frame."""

    def __init__(self):
        self.clips = 0

    def __call__(self, video):
        self.clips += len(video)
        light = video[:, 0, :, :4, :4].mean(dim=(1, 2, 3))
        return torch.stack([10 * light - 5, torch.zeros_like(light)], dim=1)

    def probabilities(self, logits):
        return logits.softmax(dim=-1)


@pytest.fixture
def video():
    """Two black frames of 8 pixels; the upper left quarter of the first is white."""
    video = torch.zeros(2, 3, 8, 8)
    video[0, :, :4, :4] = 1
    return video


def test_the_logits_without_each_frame(video):
    seen = []
    answers = BatchedModel(Corner(), batch_size=4, advance=seen.append)
    logits = answers.without_each_frame(torch.cat([video, video]))
    assert logits[:, 0].tolist() == [-5, 5, 5, 5]  # without the first, the second comes first
    assert seen == [4]


def test_the_right_map_beats_random_orders_and_the_wrong_map_does_not(video):
    right = np.zeros((2, 4, 4), np.float32)
    right[0, :2, :2] = 1
    net = Corner()
    found = curves(BatchedModel(net, 4), video, 0, {"right": right, "wrong": 1 - right}, steps=8)
    assert net.clips == passes(8, orders=2)
    deletion, insertion = zip(*(found[name].areas for name in ("right", "random", "wrong")), strict=True)
    assert deletion[0] < deletion[1] < deletion[2]
    assert insertion[0] > insertion[1] > insertion[2]
    assert len(found["right"].deletion) == 9
    whole = found["right"].deletion[0]
    assert whole == pytest.approx(found["wrong"].insertion[-1]) == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-4)


def test_no_steps_are_no_curves(video):
    net = Corner()
    assert curves(BatchedModel(net, 4), video, 0, {"map": np.zeros((2, 4, 4))}, steps=0) == {}
    assert net.clips == passes(0, orders=2) == 0


def test_pixels_that_no_patch_reads_stay():
    video = torch.rand(2, 3, 9, 9)
    found = curves(BatchedModel(Corner(), 4), video, 0, {"map": np.ones((2, 4, 4), np.float32)}, steps=1)
    assert len(found["map"].deletion) == 2


def test_the_margin_is_what_classes_do_not_share():
    logits = torch.tensor([3.0, 1.0, 2.0])
    assert margin(logits, 0).item() == 1.5
    assert torch.equal(margin(logits + 7, 0), margin(logits, 0))
    assert margin(torch.tensor([[4.0]]), 0).tolist() == [4.0]
