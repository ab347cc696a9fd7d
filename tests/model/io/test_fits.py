"""Weights fit a model that computes with them what they were trained for, not every one that has tensors of their shapes."""

from functools import partial

import pytest
from torch import Tensor

from peclip.errors import InputError
from peclip.model import AdaptFormer, MeanPool, SharedAdapter, TemporalDynamicAdapter, TemporalHead, read_trained
from tests.model.small import build


class MaxPool(TemporalHead):
    """As many weights as the mean: none."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=1)


def mlp(adapter):
    return {"adapters": {"vision.mlp": adapter}}


@pytest.mark.parametrize(
    ("trained", "other", "named"),
    [
        (mlp(partial(AdaptFormer, scale=0.1)), mlp(partial(AdaptFormer, scale=4.0)), r"adapters\['vision.mlp'\].* 4.0.* 0.1"),
        (
            mlp(partial(TemporalDynamicAdapter, scope="batch")), mlp(TemporalDynamicAdapter),
            "'scope': 'clip'.* was trained with .*'scope': 'batch'",
        ),
        (mlp(partial(AdaptFormer, hidden=4)), mlp(SharedAdapter), "SharedAdapter .* was trained with .*AdaptFormer"),
        ({"temporal": MaxPool}, {"temporal": MeanPool}, "temporal is none, but .* was trained with .*MaxPool"),
        (mlp(SharedAdapter), {"adapters": {}}, "is none, but .* was trained with .*SharedAdapter"),
        ({}, {"prompts": None}, "prompts is none, but .* was trained with .*MaPLe"),
    ],
)  # fmt: skip
def test_parts_that_would_compute_something_else_are_named_with_both_values(trained, other, named, tiny_clip):
    weights = build(tiny_clip, **trained).to_trained()
    with pytest.raises(InputError, match=named):
        build(tiny_clip, **other).load_trained(weights)


def test_a_default_that_is_stated_is_no_difference(tiny_clip):
    weights = build(tiny_clip, **mlp(AdaptFormer)).to_trained()
    build(tiny_clip, **mlp(partial(AdaptFormer, scale=0.1))).load_trained(weights)


class Kernels(TemporalHead):
    """Takes a tuple, which files hold as a list."""

    def __init__(self, width: int, kernels: tuple[int, int] = (1, 3)) -> None:
        super().__init__()
        self.kernels = kernels

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=1)


@pytest.mark.parametrize("kernels", [{}, {"kernels": (1, 3)}, {"kernels": [1, 3]}])
def test_a_tuple_comes_back_as_a_list_and_is_the_same(kernels, tiny_clip, tmp_path):
    trained = build(tiny_clip, temporal=partial(Kernels, **kernels))
    trained.save_pretrained(tmp_path / "package")
    weights = read_trained(tmp_path / "package")
    build(tiny_clip, temporal=Kernels).load_trained(weights)
    with pytest.raises(InputError, match=r"temporal is .*\[1, 5\].* was trained with .*\[1, 3\]"):
        build(tiny_clip, temporal=partial(Kernels, kernels=(1, 5))).load_trained(weights)
