"""The contract tests find what is wrong with an adapter, and say it in one sentence."""

from functools import partial

import pytest
import torch
from torch import nn

from peclip.model import Adapter, SharedAdapter, TemporalDynamicAdapter, TemporalHead
from peclip.testing import check_adapter, check_temporal_head


class Gate(Adapter):
    """The example of the documentation."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x, frames):
        return x * (1 + self.gate)


class Narrow(Gate):
    def forward(self, x, frames):
        return super().forward(x, frames)[:, :1]


class Shift(Gate):
    def forward(self, x, frames):
        return x + 1 + self.gate


class Unused(Gate):
    def __init__(self, width):
        super().__init__(width)
        self.spare = nn.Linear(width, width)


class Dead(Gate):
    def forward(self, x, frames):
        return x + 0 * self.gate


class Mixing(Gate):
    def forward(self, x, frames):
        return x + self.gate * x.mean(dim=0)


class Counting(Gate):
    calls = 0

    def forward(self, x, frames):
        self.calls += 1
        return x + self.gate * self.calls


class Forgetful(Gate):
    def __init__(self, width):
        super().__init__(width)
        self.noise = torch.randn(width)

    def forward(self, x, frames):
        return x + self.gate * self.noise


class FalselyTokenWise(Gate):
    token_wise = True

    def forward(self, x, frames):
        return x + self.gate * x.mean(dim=1, keepdim=True)


class FalselyCausal(Gate):
    """The first token is the same among others as alone."""

    token_wise = True

    def forward(self, x, frames):
        return x + self.gate * x.cumsum(dim=1)


class FalselyPlaced(Adapter):
    """Adds to a token what depends on its place."""

    token_wise = True

    def __init__(self, width):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(99, width))

    def forward(self, x, frames):
        return x + self.places[: x.shape[1]]


class Beside(Gate):
    """Takes both the input and the output of its site."""

    takes = "both"

    def forward(self, x, frames, entering):
        return x + self.gate * entering


class Undecided(Gate):
    takes = "inputs"


class Indexing(Gate):
    def __init__(self, width, persistent=True):
        super().__init__(width)
        self.register_buffer("order", torch.arange(width).flip(0), persistent=persistent)

    def forward(self, x, frames):
        return x + self.gate * x[..., self.order]


class Empty(Adapter):
    def __init__(self, width):
        super().__init__()

    def forward(self, x, frames):
        return x


@pytest.mark.parametrize("site", ["vision.mlp", "vision.attention[1:]", "text.mlp"])
@pytest.mark.parametrize("factory", [Gate, Beside, partial(Indexing, persistent=False)])
def test_an_adapter_of_ones_own_passes(factory, site):
    check_adapter(factory, site)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Narrow, r"Narrow returns tokens of shape \(6, 1, 32\) for \(6, 5, 32\): the shape must be kept"),
        (Shift, "Shift is not the identity at the start: initialise its last layer with zeros"),
        (Unused, "Unused: no gradient reaches .*spare.*: every parameter must be used in forward"),
        (Dead, "Dead: the gradient of .*gate.* is zero even with random weights"),
        (
            Mixing,
            r"Mixing: a clip gets other logits in a batch than alone \(difference .*: use frames, the T of a clip",
        ),
        (Counting, "Counting returns other logits for the same clips|Counting: a clip gets other logits"),
        (
            FalselyTokenWise,
            "FalselyTokenWise states token_wise, but a token gets another result among others than alone",
        ),
        (FalselyCausal, "FalselyCausal states token_wise, but a token gets another result among others than alone"),
        (FalselyPlaced, "FalselyPlaced states token_wise, but a token gets another result among others than alone"),
        (Forgetful, "Forgetful returns other logits after saving and loading: keep what it learns in parameters"),
        (
            Indexing,
            r"Indexing cannot be put into a model: adapters\.vision\.mlp\.0 has a buffer 'order' of int64, .* persistent=False",
        ),
        (Empty, "Empty has no parameters: there is nothing to train"),
        (
            Undecided,
            "cannot be put into a model: adapters: Undecided takes 'inputs' of its site, expected one of output, input",
        ),
        (lambda width: Gate(width), "<lambda> cannot be put into a model: .* cannot be saved: expected a class"),
        (partial(TemporalDynamicAdapter, scope="batch"), "a clip gets other logits in a batch than alone"),
        (partial(SharedAdapter, init="default"), "is not the identity at the start"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)
def test_a_broken_contract_is_one_sentence(factory, message):
    with pytest.raises(AssertionError, match=message) as caught:
        check_adapter(factory)
    assert "\n" not in str(caught.value)


def test_a_class_that_no_file_could_name_is_refused():
    class Local(Gate):
        pass

    with pytest.raises(AssertionError, match=r"Local cannot be saved: define the class at the top of a module"):
        check_adapter(Local)


def test_random_numbers_go_on_as_if_nothing_had_been_checked():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_adapter(Gate)
    assert torch.equal(torch.rand(3), expected)


class WithoutFrames(Gate):
    def forward(self, x):
        return x


class OfTwo(TemporalHead):
    def __init__(self, width):
        super().__init__()

    def forward(self, x, y):
        return x


def test_a_forward_that_cannot_be_called_is_one_sentence():
    with pytest.raises(
        AssertionError, match=r"^WithoutFrames: forward fails with tokens of shape .*: .*positional arguments"
    ):
        check_adapter(WithoutFrames)
    with pytest.raises(AssertionError, match=r"^OfTwo: forward fails with features of shape .*: .*missing"):
        check_temporal_head(OfTwo)


class WithoutWidth(Gate):
    def __init__(self):
        super().__init__(8)


class WithRank(Gate):
    def __init__(self, width, rank):
        super().__init__(width)


class OfNumpy(Gate):
    def forward(self, x, frames):
        return x.detach().numpy()


class Doubled(Gate):
    def forward(self, x, frames):
        return super().forward(x, frames).double()


class InPlace(Gate):
    """Changes the output of the frozen layer, which the gradient needs."""

    def forward(self, x, frames):
        x *= 1 + self.gate
        x += x.sin() * self.gate
        return x


class OfFewFrames(Gate):
    def forward(self, x, frames):
        return super().forward(x, frames) if frames < 7 else x[:, :2]


class AtOneSite(Gate):
    only_at = "vision.mlp"


class Head(TemporalHead):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x.mean(1) * (1 + self.gate)


class DoubledHead(Head):
    def forward(self, x):
        return super().forward(x).double()


class HeadWithoutWidth(Head):
    def __init__(self):
        super().__init__(8)


@pytest.mark.parametrize(
    ("check", "factory", "message"),
    [
        (check_adapter, WithoutWidth, r"^WithoutWidth cannot be put into a model: adapters: .* takes no width"),
        (check_adapter, WithRank, r"^WithRank cannot be put into a model: .* missing .* 'rank'"),
        (check_adapter, Adapter, r"^Adapter cannot be put into a model: "),
        (check_adapter, OfNumpy, "^OfNumpy returns ndarray, expected a tensor"),
        (check_adapter, Doubled, r"^Doubled returns tokens of torch\.float64 for those of torch\.float32"),
        (check_adapter, InPlace, "^InPlace fails in a model: .*inplace operation"),
        (check_adapter, OfFewFrames, "^OfFewFrames fails in a model: adapters: OfFewFrames returns shape"),
        (check_adapter, nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "^Sequential.* cannot be put into a model: "),
        (check_temporal_head, HeadWithoutWidth, r"^HeadWithoutWidth cannot be put into a model: temporal: .* width"),
        (check_temporal_head, DoubledHead, r"^DoubledHead returns features of torch\.float64"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_any_failure_of_a_part_is_a_broken_contract_in_one_sentence(check, factory, message):
    with pytest.raises(AssertionError, match=message) as caught:
        check(factory)
    assert "\n" not in str(caught.value)


def test_the_only_site_of_an_adapter_may_be_its_name():
    check_adapter(AtOneSite, "vision.mlp")
    with pytest.raises(AssertionError, match=r"AtOneSite is at 'vision\.block', but works at vision\.mlp only"):
        check_adapter(AtOneSite, "vision.block")


def test_a_temporal_head_of_ones_own_passes():
    check_temporal_head(Head)


def test_nothing_is_printed_about_the_small_clip(capfd, caplog):
    check_adapter(Gate)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
