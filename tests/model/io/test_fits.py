"""Weights fit a model that computes with them what they were trained for, not every one that has tensors of their shapes."""

import hashlib
import json
from functools import partial

import pytest
import torch
from torch import Tensor

from peclip.errors import InputError
from peclip.model import AdaptFormer, MeanPool, SharedAdapter, TemporalDynamicAdapter, TemporalHead, read_trained
from peclip.model.io.fits import digest, model_digest
from peclip.model.io.spec import as_json_text
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


class Rounded(TemporalHead):
    """Has arguments for which JSON has no form."""

    def __init__(self, width: int, dtype: torch.dtype = torch.float32, names: frozenset[str] = frozenset()) -> None:
        super().__init__()

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=1)


def test_a_model_whose_part_takes_a_dtype_has_a_digest(tiny_clip):
    single, half = (
        model_digest(net.config, net.trainable_state())
        for net in (build(tiny_clip, temporal=partial(Rounded, dtype=kind)) for kind in (torch.float32, torch.float16))
    )
    assert single != half


def test_a_model_of_other_arguments_keeps_the_digest_that_answers_on_disk_have(tiny_clip):
    net = build(tiny_clip)
    plain = {name: value for name, value in net.config.to_plain().items() if name != "backbone"}
    before = json.dumps(plain, sort_keys=True) + digest(net.trainable_state())
    assert model_digest(net.config, net.trainable_state()) == hashlib.sha256(before.encode()).hexdigest()


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_is_written_in_one_order_in_every_process(kind):
    names = [f"name{number}" for number in range(20)]
    entries = ", ".join(sorted(map(repr, names)))
    assert as_json_text(kind(names)) == (f"{{{entries}}}" if kind is set else f"frozenset({{{entries}}})")
