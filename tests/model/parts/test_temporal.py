from functools import partial

import pytest
import torch
from torch import nn

from peclip.errors import InputError
from peclip.model import AttentionPool, GRUHead, MeanPool, SharedAdapter, TemporalHead, TransformerHead
from peclip.model.parts.temporal import at_frames
from peclip.testing import check_temporal_head
from tests.model.small import build, clips, size, stir

WIDTH = 24

HEADS = {
    "attention": AttentionPool,
    "gru": GRUHead,
    "gru_narrow": partial(GRUHead, reduction=4),
    "transformer": TransformerHead,
    "transformer_deep": partial(TransformerHead, depth=2, heads=3, positions=5),
}


def features(batch=2, frames=4, seed=0):
    return torch.randn(batch, frames, WIDTH, generator=torch.Generator().manual_seed(seed))


class Last(TemporalHead):
    """The last frame, gated: a head of one's own."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x.mean(dim=1) + self.gate * x[:, -1]


class Straight(Last):
    def forward(self, x):
        return (1 + self.gate) * x[:, -1]


class Flat(Last):
    def forward(self, x):
        return x * self.gate


@pytest.mark.parametrize("factory", [*HEADS.values(), Last], ids=[*HEADS, "own"])
def test_a_head_keeps_the_contract(factory):
    check_temporal_head(factory)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("factory", HEADS.values(), ids=HEADS)
def test_a_head_works_in_another_precision(factory, dtype):
    head = stir(factory(WIDTH))
    plain, other = head(features()), head.to(dtype)(features().to(dtype))
    assert other.dtype == dtype
    assert torch.allclose(other.float(), plain, atol=0.1)


def test_a_head_that_breaks_the_contract_is_told_so_in_one_sentence():
    check_temporal_head(Straight, mean=False)
    for factory, message in (
        (Straight, "Straight is not the mean over the frames at the start: initialise its last layer with zeros, or"),
        (Flat, r"Flat returns shape \(2, 3, 24\) for \(2, 3, 24\), expected \(2, 24\)"),
        (MeanPool, "MeanPool has no parameters: there is nothing to train"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_temporal_head(factory)


@pytest.mark.parametrize(("name", "matters"), [("attention", False), ("gru", True), ("transformer", True)])
def test_the_order_of_the_frames_matters_to_all_but_attention(name, matters):
    head, x = stir(HEADS[name](WIDTH)), features()
    assert torch.allclose(head(x), head(x.flip(1)), atol=1e-5) is not matters


def test_attention_weighs_frames_by_themselves_and_beside_their_mean():
    head, x = stir(AttentionPool(WIDTH)), features(1, 3)
    alone = torch.sigmoid(x[0] @ head.alone)
    mean = (alone[:, None] * x[0]).sum(0) / alone.sum()
    weights = alone * torch.stack([torch.sigmoid(head.beside @ torch.cat([frame, mean])) for frame in x[0]])
    expected = sum(weight * frame for weight, frame in zip(weights / weights.sum(), x[0], strict=True))
    assert torch.allclose(head(x)[0], expected, atol=1e-5)


def test_gru_adds_its_last_state_to_the_mean():
    head, x = stir(GRUHead(WIDTH)), features(1, 3)
    reference = nn.GRU(WIDTH, WIDTH, batch_first=True)
    reference.load_state_dict(head.rnn.state_dict())
    _, last = reference(head.down(head.norm(x)))
    assert torch.allclose(head(x)[0], x[0].mean(0) + head.up(last[0, 0]), atol=1e-5)


def test_positions_are_places_within_the_clip():
    assert torch.equal(at_frames(torch.eye(4), 4), torch.eye(4))
    two = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert torch.equal(at_frames(torch.eye(4), 2), two)
    many = at_frames(torch.eye(4), 9)
    assert torch.allclose(many.sum(1), torch.ones(9))
    assert torch.equal(many[0], torch.tensor([1.0, 0, 0, 0]))


def test_a_layer_is_that_of_torch():
    head = stir(TransformerHead(WIDTH, heads=4))
    (layer,) = head.layers
    twin = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    names = {"self_attn.in_proj_": "qkv.", "self_attn.out_proj.": "out.", "linear1.": "fc1.", "linear2.": "fc2."}
    state = {}
    for name in twin.state_dict():
        ours = name
        for theirs, own in names.items():
            ours = ours.replace(theirs, own)
        state[name] = layer.state_dict()[ours]
    twin.load_state_dict(state)
    assert torch.allclose(layer(features()), twin(features()), atol=1e-5)


@pytest.mark.parametrize(
    ("factory", "count"),
    [
        (MeanPool, 0),
        (AttentionPool, 3 * 512),
        (GRUHead, 2 * 512 + 2 * (512 * 512 + 512) + 6 * 512 * (512 + 1)),
        (TransformerHead, 512 + 16 * 512 + 3 * 2 * 512 + (4 + 8 + 1) * 512 * 512 + (4 + 5 + 1) * 512),
    ],
)
def test_sizes_in_vit_b_16(factory, count):
    assert size(factory(512)) == count


def test_a_head_sees_the_features_of_the_frames_and_combines_with_other_parts(tiny_clip):
    net = stir(build(tiny_clip, adapters={"vision.mlp": SharedAdapter}, temporal=GRUHead)).eval()
    seen = []
    net.temporal.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        found = net.encode_video(clips(2, 3))
        frames = net.encode_video(clips(2, 3).reshape(6, 1, 3, 32, 32))
    assert seen[0].shape == (2, 3, WIDTH)
    assert torch.allclose(seen[0].reshape(6, 1, WIDTH), seen[1], atol=1e-5)
    assert found.shape == (2, WIDTH)
    assert frames.shape == (6, WIDTH)


def test_the_mean_is_in_no_checkpoint(tiny_clip):
    net = build(tiny_clip)
    assert isinstance(net.temporal, MeanPool)
    assert "temporal" not in net.config.to_plain()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (partial(GRUHead, reduction=0), "GRUHead: reduction is 0, expected 1 to the width of the features, 24"),
        (
            partial(TransformerHead, heads=7),
            "TransformerHead: heads is 7, expected a divisor of the width of the features, 24",
        ),
        (partial(TransformerHead, heads=0), "TransformerHead: heads is 0, expected a divisor"),
        (partial(TransformerHead, depth=0), "TransformerHead: depth is 0, expected 1 to 10,000"),
        (partial(TransformerHead, positions=10**9), "TransformerHead: positions is 1000000000, expected 1 to 10,000"),
    ],
)
def test_what_is_out_of_range_is_refused(factory, message):
    with pytest.raises(InputError, match=message):
        factory(WIDTH)


def test_a_head_without_forward_says_so():
    class Half(TemporalHead):
        pass

    with pytest.raises(NotImplementedError, match="Half has no forward"):
        Half()(features())
