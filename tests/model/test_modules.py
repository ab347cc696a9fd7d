"""Sites of adapters, and parts of other packages: what they return is checked, and one line names what does not fit."""

from functools import partial

import pytest
import torch
from torch import nn

from peclip.errors import InputError
from peclip.model import Adapter, Prompts, TemporalHead
from peclip.model.modules import SITES, expand_site
from tests.model.small import build, clips, trainable

BLOCKS = {"vision": 4, "text": 4}


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("vision.mlp", [0, 1, 2, 3]),
        ("vision.attention[1:3]", [1, 2]),
        ("text.mlp[2:]", [2, 3]),
        ("text.attention[:1]", [0]),
        ("vision.mlp[:]", [0, 1, 2, 3]),
        ("vision.mlp[-2:]", [2, 3]),
        ("vision.mlp[:-1]", [0, 1, 2]),
        ("vision.mlp[-3:-1]", [1, 2]),
        ("vision.mlp[2:99]", [2, 3]),
    ],
)
def test_site_selects_blocks_as_a_slice_does(site, expected):
    tower, part = site.split("[")[0].split(".")
    assert expand_site(site, BLOCKS) == [(tower, part, block) for block in expected]


@pytest.mark.parametrize(
    "site",
    [
        *("vision", "vision.", "mlp", "vision.mpl", "audio.mlp", "", "vision.mlp.0", "Vision.mlp", " vision.mlp"),
        *(
            "vision.mlp[3]",
            "vision.mlp[0:4:2]",
            "vision.mlp[-:3]",
            "vision.mlp[:-]",
            "vision.mlp[a:b]",
            "vision.mlp[1:",
        ),
    ],
)
def test_unknown_site_is_refused_and_the_valid_ones_are_listed(site):
    with pytest.raises(InputError) as caught:
        expand_site(site, BLOCKS)
    assert repr(site) in str(caught.value)
    assert all(valid in str(caught.value) for valid in SITES)


@pytest.mark.parametrize("site", ["vision.mlp[4:]", "vision.mlp[2:2]", "vision.mlp[3:1]", "vision.mlp[:-4]"])
def test_site_that_matches_no_block_is_refused(site):
    with pytest.raises(InputError, match=r"matches no block, vision.mlp has blocks 0 to 3"):
        expand_site(site, BLOCKS)


class Returning(Adapter):
    """Returns what its subclass makes of the tokens."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x, frames):
        return self.made(x * self.weight)


class OneToken(Returning):
    def made(self, x):
        return x[:, :1]


class Nothing(Returning):
    def made(self, x):
        return None


class Tanh(Returning):
    def made(self, x):
        return x.tanh()


class WithoutWidth(Adapter):
    def __init__(self):
        super().__init__()


class Lazy(Returning):
    def __init__(self, width):
        super().__init__(width)
        self.up = nn.LazyLinear(width)


class Frames(TemporalHead):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight


class Own(Prompts):
    """Prompts of the text tower, of any length and depth."""

    towers = ("text",)

    def __init__(self, text_width, vision_width, blocks, length=2, depth=1, width=0):
        super().__init__()
        self.length, self.depth = length, depth
        self.tokens = nn.Parameter(torch.zeros(2, text_width + width))

    def text(self):
        return [self.tokens]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adapters": {"vision.mlp": OneToken}}, r"adapters: OneToken returns shape \(6, 1, 32\), expected shape"),
        ({"adapters": {"text.block": Nothing}}, "adapters: Nothing returns NoneType, expected shape"),
        ({"adapters": {"vision.mlp": WithoutWidth}}, "adapters: WithoutWidth takes no width of the tokens"),
        ({"adapters": {"vision.mlp": Lazy}}, "adapters: Lazy has parameters without a shape"),
        ({"temporal": Frames}, r"temporal: Frames returns shape \(2, 3, 24\), expected shape \(2, 24\)"),
        ({"prompts": partial(Own, depth=9)}, "prompts: Own has depth 9, expected 1 to 2"),
        ({"prompts": partial(Own, length="2")}, "prompts: Own has length '2', expected 1 to 1,000"),
        (
            {"prompts": partial(Own, depth=2)},
            r"returns tensors of shapes \(2, 32\) from text\(\), expected 2 of \(2, 32\)",
        ),
        ({"prompts": partial(Own, width=1)}, r"returns tensors of shapes \(2, 33\) from text\(\), expected 1 of"),
    ],
)
def test_what_does_not_fit_is_one_line(tiny_clip, options, says):
    with pytest.raises(InputError, match=says):
        build(tiny_clip, **{"prompts": None, "adapters": {}, **options})(clips())


def test_an_adapter_of_a_block_may_keep_its_output_for_the_gradient_beside_prompts(tiny_clip):
    """Prompts replace tokens of that output, in place where nothing keeps it."""
    net = build(tiny_clip, adapters={"vision.block": Tanh, "text.block": Tanh})
    net.train()(clips()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in trainable(net).values())
