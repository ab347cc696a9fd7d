from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.model import Adapter, SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.testing import check_adapter
from tests.model.small import size, stir, trainable

WIDTH = 32

IDENTITIES = {
    "shared": SharedAdapter,
    "text": TextAdapter,
    "temporal": TemporalDynamicAdapter,
    "temporal_batch": partial(TemporalDynamicAdapter, scope="batch"),
    "temporal_lstm": partial(TemporalDynamicAdapter, rnn="lstm"),
    "temporal_rnn": partial(TemporalDynamicAdapter, rnn="rnn"),
    "temporal_narrow": partial(TemporalDynamicAdapter, reduction=32),
}
ADAPTERS = {**IDENTITIES, "shared_default": partial(SharedAdapter, init="default")}

BOTTLENECK = {"down.weight", "down.bias", "up.weight", "up.bias"}
TEMPORAL = {
    *BOTTLENECK,
    *("norm.weight", "norm.bias", "scale.weight", "scale.bias"),
    *("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"),
}


def tokens(clips=2, frames=3, length=5, width=WIDTH, seed=0):
    return torch.randn(clips * frames, length, width, generator=torch.Generator().manual_seed(seed))


def rows(table):
    return pytest.mark.parametrize("factory", table.values(), ids=table.keys())


@rows(ADAPTERS)
def test_every_adapter_keeps_the_contract(factory):
    options = getattr(factory, "keywords", {})
    check_adapter(factory, identity=options.get("init") != "default", independent=options.get("scope") != "batch")


@pytest.mark.parametrize(("factory", "site"), [(SharedAdapter, "text.attention"), (TextAdapter, "text.mlp")])
def test_adapters_of_the_text_tower_keep_the_contract_there(factory, site):
    check_adapter(factory, site)


@pytest.mark.parametrize(("clips", "frames"), [(2, 3), (1, 1), (7, 1), (1, 6)])
@rows(ADAPTERS)
def test_shape_is_kept(factory, clips, frames):
    x = tokens(clips, frames)
    assert stir(factory(WIDTH))(x, frames).shape == x.shape


@rows(ADAPTERS)
def test_changes_tokens_once_trained(factory):
    x = tokens()
    assert (stir(factory(WIDTH))(x, 3) - x).abs().max() > 0.1


def test_default_init_is_not_the_identity():
    x = tokens()
    assert not torch.equal(SharedAdapter(WIDTH, init="default")(x, 3), x)


@rows(IDENTITIES)
def test_learns_from_the_identity(factory):
    adapter, x = factory(WIDTH), tokens()
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (adapter(x, 3) - x.flip(0)).square().mean().backward()
        optimizer.step()
    assert not torch.equal(adapter(x, 3), x)


@pytest.mark.parametrize(
    ("factory", "width", "names", "count"),
    [  # the sizes of one block of ViT-B/16: text tower 512, vision tower 768
        (SharedAdapter, 768, BOTTLENECK, 148_320),
        (SharedAdapter, 512, BOTTLENECK, 66_112),
        (TextAdapter, 512, BOTTLENECK, 66_112),
        (TemporalDynamicAdapter, 768, TEMPORAL, 206_497),
    ],
)
def test_parameters_are_those_of_the_paper(factory, width, names, count):
    adapter = factory(width)
    assert set(trainable(adapter)) == names
    assert size(adapter) == count


@pytest.mark.parametrize(("rnn", "gates"), [("gru", 3), ("lstm", 4), ("rnn", 1)])
def test_recurrence_is_of_the_kind_asked_for(rnn, gates):
    assert len(TemporalDynamicAdapter(WIDTH, reduction=4, rnn=rnn).rnn.bias_hh_l0) == gates * WIDTH // 4


def test_shared_adapter_is_a_residual_bottleneck():
    adapter = SharedAdapter(2, reduction=2)
    weights = {"down.weight": [[1.0, 2.0]], "down.bias": [0.5], "up.weight": [[3.0], [-1.0]], "up.bias": [0.0, 4.0]}
    adapter.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    # x = (1, -1): W_down x + b = -0.5, GELU(-0.5) = -0.5 * 0.30853754 = -0.15426877
    expected = torch.tensor([[[1 + 3 * -0.15426877, -1 + 0.15426877 + 4]]])
    assert torch.allclose(adapter(torch.tensor([[[1.0, -1.0]]]), 1), expected, atol=1e-6)


def test_temporal_adapter_runs_the_recurrence_frame_by_frame_for_each_token_of_each_clip():
    clips, frames, length = 2, 4, 3
    adapter, x = stir(TemporalDynamicAdapter(WIDTH)), tokens(clips, frames, length)
    cell = nn.GRUCell(WIDTH // 8, WIDTH // 8)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in adapter.rnn.state_dict().items()})
    expected = torch.empty_like(x)
    for clip in range(clips):
        for token in range(length):
            hidden = torch.zeros(1, WIDTH // 8)
            for frame in range(clip * frames, (clip + 1) * frames):
                here = x[frame, token]
                normed = F.layer_norm(here, (WIDTH,), adapter.norm.weight, adapter.norm.bias)
                hidden = cell(adapter.down(normed)[None], hidden)
                scale = torch.relu(adapter.scale.weight[0] @ normed + adapter.scale.bias)
                expected[frame, token] = here + scale * adapter.up(F.gelu(hidden[0]))
    assert torch.allclose(adapter(x, frames), expected, atol=1e-6)


@rows({name: row for name, row in ADAPTERS.items() if name != "temporal_batch"})
def test_a_clip_does_not_depend_on_its_neighbours(factory):
    adapter, frames = stir(factory(WIDTH)), 4
    x = tokens(5, frames)
    together = adapter(x, frames)
    alone = torch.cat([adapter(clip, frames) for clip in x.split(frames)])
    assert (alone - together).abs().max() < 1e-5
    order = [3, 0, 4, 2, 1]
    shuffled = adapter(torch.cat([x.split(frames)[clip] for clip in order]), frames)
    assert (shuffled - torch.cat([together.split(frames)[clip] for clip in order])).abs().max() < 1e-5


def test_scope_batch_runs_on_from_clip_to_clip():
    adapter, x = stir(TemporalDynamicAdapter(WIDTH, scope="batch")), tokens(2, 3)
    together = adapter(x, 3)
    assert torch.allclose(together[:3], adapter(x[:3], 3), atol=1e-6)
    assert (together[3:] - adapter(x[3:], 3)).abs().max() > 1e-3
    assert torch.equal(together, adapter(x, 6)), "to scope batch all frames are one sequence"


@pytest.mark.parametrize("rnn", ["gru", "lstm", "rnn"])
def test_a_frame_depends_on_itself_and_earlier_frames_of_its_token_alone(rnn):
    adapter, x = stir(TemporalDynamicAdapter(WIDTH, rnn=rnn)), tokens(1, 5)
    with torch.no_grad():
        adapter.scale.bias.fill_(10)  # open for every token
    other = x.clone()
    other[2, 1] = -other[2, 1]
    moved = (adapter(other, 5) - adapter(x, 5)).abs().amax(dim=-1) > 1e-6
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[2:, 1] = True
    assert torch.equal(moved, expected)


def test_scale_below_zero_shuts_the_temporal_adapter_off():
    adapter, x = stir(TemporalDynamicAdapter(WIDTH)), tokens()
    with torch.no_grad():
        adapter.scale.bias.fill_(-1000)
    assert torch.equal(adapter(x, 3), x)


def test_number_of_frames_may_change_from_batch_to_batch():
    adapter, x = stir(TemporalDynamicAdapter(WIDTH)), tokens(1, 12)
    first = adapter(x, 12)
    assert torch.allclose(adapter(x[:5], 5), first[:5], atol=1e-6)
    assert torch.equal(adapter(x, 12), first)


@pytest.mark.parametrize("factory", [SharedAdapter, TextAdapter, TemporalDynamicAdapter])
@pytest.mark.parametrize("reduction", [0, -1, 33])
def test_reduction_out_of_range_is_refused(factory, reduction):
    with pytest.raises(InputError, match=rf"{factory.__name__}: reduction is {reduction}, expected 1 to .*32"):
        factory(WIDTH, reduction=reduction)


@pytest.mark.parametrize("reduction", [1, 5, 32])
def test_reduction_may_be_any_from_one_to_the_width(reduction):
    x = tokens()
    for factory in (SharedAdapter, TemporalDynamicAdapter):
        assert factory(WIDTH, reduction=reduction).down.out_features == WIDTH // reduction
        assert torch.equal(factory(WIDTH, reduction=reduction)(x, 3), x)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (partial(SharedAdapter, init="zeros"), "init is 'zeros', expected zero or default"),
        (partial(TemporalDynamicAdapter, scope="frames"), "scope is 'frames', expected clip or batch"),
        (partial(TemporalDynamicAdapter, rnn="GRU"), "rnn is 'GRU', expected gru or lstm or rnn"),
    ],
)
def test_misspelt_option_is_refused(factory, message):
    with pytest.raises(InputError, match=message):
        factory(WIDTH)


def test_an_adapter_without_forward_says_so():
    class Half(Adapter):
        pass

    with pytest.raises(NotImplementedError, match="Half has no forward"):
        Half()(tokens(), 3)
