"""The last block of a tower on the token that is used of it: equal to the whole block in every form."""

from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from peclip.model import Adapter, SharedAdapter, TemporalDynamicAdapter
from peclip.model.backbones.layers import PatchEmbedding
from peclip.model.backbones.load import load_backbone
from peclip.model.parts.adapters import is_token_wise
from tests.model.small import build, clips, stir, trainable, with_whole_blocks

PARTS = {
    "bare": {"adapters": {}, "prompts": None},
    "all parts": {},
    "adapters": {"prompts": None},
    "released": {"adapters": {"vision.mlp": partial(TemporalDynamicAdapter, scope="batch")}},
}


class Mixer(Adapter):
    """Adds the mean of all tokens of its frame or text, and says nothing about it."""

    def __init__(self, width):
        super().__init__()
        self.gate = torch.nn.Parameter(torch.ones(width))

    def forward(self, x, frames):
        return x + self.gate * x.mean(dim=1, keepdim=True)


class DerivedMixer(SharedAdapter):
    """Mixes tokens, and is derived from an adapter that does not."""

    def forward(self, x, frames):
        return super().forward(x + x.mean(dim=1, keepdim=True), frames)


class Scale(Adapter):
    """An adapter of one's own that is token-wise and says so; it notes the shapes of its calls."""

    token_wise = True

    def __init__(self, width):
        super().__init__()
        self.scale, self.shapes = torch.nn.Parameter(torch.full((width,), 1.5)), []

    def forward(self, x, frames):
        self.shapes.append(tuple(x.shape))
        return x * self.scale


def check_equal(net, video, other=None):
    """The logits, in training too, and all gradients are those of whole blocks."""
    other = with_whole_blocks(net) if other is None else other
    with torch.no_grad():
        assert (net(video) - other(video)).abs().max() <= 1e-6 * 100  # of the scale of the logits
    logits = net(video), other(video)
    assert torch.allclose(*logits, atol=1e-4)
    weights = trainable(net)
    for one in (net, other):
        one.zero_grad()
    if not weights:
        return
    for result in logits:
        result.square().mean().backward()
    for name, weight in trainable(other).items():
        largest = weight.grad.abs().max()
        assert (weights[name].grad - weight.grad).abs().max() <= 1e-4 * largest + 1e-6, name


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_logits_and_gradients_are_those_of_whole_blocks(tiny_clip, parts):
    net = stir(build(tiny_clip, **parts))
    check_equal(net, clips(3, 4))
    if parts == {}:
        whole = with_whole_blocks(net)
        with net.bare(), whole.bare(), torch.no_grad():
            assert torch.allclose(net(clips()), whole(clips()), atol=1e-4)


@pytest.mark.parametrize(
    "run",
    [
        {"checkpointing": True},
        pytest.param({"compile": True}, marks=pytest.mark.stress),  # test_inject compiles the same blocks
        pytest.param({"compile": True, "checkpointing": True}, marks=pytest.mark.stress),
    ],
    ids=str,
)
def test_they_are_in_blocks_that_are_compiled_or_computed_again(tiny_clip, run):
    net, plain = stir(build(tiny_clip, **run)), stir(build(tiny_clip))
    check_equal(net, clips(2, 3), with_whole_blocks(plain))


def test_bf16_differs_by_its_rounding_only(tiny_clip):
    net = stir(build(tiny_clip))
    with torch.autocast("cpu", torch.bfloat16):
        one, whole = net(clips(4)), with_whole_blocks(net)(clips(4))
    assert torch.allclose(one, whole, atol=0.5)
    (one - whole).abs().sum().backward()


@pytest.mark.parametrize("site", ["vision.attention", "vision.mlp", "text.attention", "text.mlp"])
class TestAdaptersOfOnesOwn:
    @pytest.mark.parametrize("mixer", [Mixer, DerivedMixer])
    def test_one_that_may_mix_tokens_sees_all_of_them(self, tiny_clip, site, mixer):
        net = stir(build(tiny_clip, adapters={site: mixer}))
        tower = site.split(".")[0]
        assert net._mixes == {name: name == tower for name in ("vision", "text")}
        check_equal(net, clips(3, 4))
        before = net(clips())
        net._mixes = dict.fromkeys(net._mixes, False)
        assert not torch.allclose(net(clips()), before, atol=1e-2), "it mixes no tokens"

    def test_one_that_does_not_sees_one_token_in_the_last_block(self, tiny_clip, site):
        net = build(tiny_clip, adapters={site: Scale})
        check_equal(net, clips(3, 4))
        *before, last = net.adapters.get_submodule(site)._modules.values()
        net(clips(2, 3))
        assert last.shapes[-1][1] == 1
        assert all(adapter.shapes[-1][1] > 1 for adapter in before)

    def test_in_other_blocks_it_may_mix_them(self, tiny_clip, site):
        net = stir(build(tiny_clip, adapters={f"{site}[:1]": Mixer}))
        assert not any(net._mixes.values())
        check_equal(net, clips(3, 4))


class InputMixer(Mixer):
    """Mixes the tokens before the sub-layer."""

    takes = "input"


class Beside(Scale):
    """Token-wise, and takes both input and output."""

    token_wise = True  # it is not inherited
    takes = "both"

    def forward(self, x, frames, entering):
        return super().forward(x, frames) + entering


@pytest.mark.parametrize(
    ("site", "adapter", "one"),
    [
        ("attention", InputMixer, True),  # the attention gets all tokens anyway
        ("attention", Beside, False),  # it gets all tokens and returns one
        ("mlp", InputMixer, False),
        ("mlp", Beside, True),
        ("block", InputMixer, True),
        ("block", Beside, False),
        ("block", Scale, True),
        ("block", Mixer, False),
    ],
)
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_what_an_adapter_takes_decides_whether_one_token_is_enough(tiny_clip, tower, site, adapter, one):
    net = stir(build(tiny_clip, adapters={f"{tower}.{site}": adapter}))
    assert net._mixes[tower] is not one
    check_equal(net, clips(3, 4))


@pytest.mark.parametrize("site", ["attention", "mlp", "block"])
def test_texts_whose_ends_are_at_different_places_are_not_mixed_at_them(tiny_clip, site):
    mixing = partial(TemporalDynamicAdapter, scope="batch")
    texts = {"happiness": "smile", "sadness": "the corners of the mouth go down", "surprise": "raised brows"}
    net = stir(build(tiny_clip, adapters={f"text.{site}": mixing}, texts=texts))
    assert len(net.text_ends.unique()) == 3
    check_equal(net, clips(3, 4))
    other = stir(build(tiny_clip, adapters={f"vision.{site}": mixing, f"text.{site}[:1]": mixing}))
    assert not any(other._mixes.values())  # frames are read at one place


def test_being_token_wise_is_not_inherited():
    assert is_token_wise(SharedAdapter(16))
    assert not is_token_wise(DerivedMixer(16))
    assert not is_token_wise(Mixer(16))


def test_the_backbone_by_itself_computes_all_tokens(tiny_clip):
    from transformers import CLIPModel

    backbone, clip = load_backbone(str(tiny_clip)), CLIPModel.from_pretrained(tiny_clip).eval()
    frames, ids = clips().flatten(0, 1), torch.tensor([[188, *range(20, 27), 189, 189], [188, 40, 41, 189] + [189] * 6])
    ends = torch.tensor([8, 3])
    with torch.no_grad():
        hidden = backbone.clip.vision_model(pixel_values=frames).last_hidden_state
        assert torch.allclose(hidden, clip.vision_model(pixel_values=frames).last_hidden_state, atol=1e-5)
        features = clip.get_image_features(pixel_values=frames).pooler_output
        assert torch.allclose(backbone.encode_frames(frames, whole=True), features, atol=1e-5)
        texts = clip.text_projection(clip.text_model(input_ids=ids).last_hidden_state[torch.arange(2), ends])
        assert torch.equal(backbone.encode_tokens(ids, ends, whole=True), texts)
        assert torch.allclose(backbone.encode_tokens(ids, ends), texts, atol=1e-5)


def test_patches_are_embedded_as_by_the_convolution():
    torch.manual_seed(0)
    embedding = PatchEmbedding(3, 8, kernel_size=4, stride=4, bias=False)
    frames = torch.randn(2, 3, 12, 8)
    assert torch.equal(embedding(frames), torch.nn.Conv2d.forward(embedding, frames))
    double = embedding.double()(frames.double())
    assert torch.allclose(double, torch.nn.Conv2d.forward(embedding, frames.double()), atol=1e-12)
    assert double.shape == (2, 8, 3, 2)


def test_nothing_but_attention_is_computed_of_the_other_tokens(tiny_clip):
    net = build(tiny_clip, adapters={}, prompts=None)
    sizes, frames, tokens = net.clip.config.vision_config, 2 * 3, 1 + (32 // 16) ** 2

    def work(net):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.encode_video(clips(2, 3))
        return counter.get_total_flops()

    width, wide = sizes.hidden_size, sizes.intermediate_size
    products = 2 * (
        4 * width * width + 2 * width * wide
    )  # the attention's four layers, and the MLP; not its own products
    assert work(with_whole_blocks(net)) - work(net) == frames * (tokens - 1) * products


@pytest.mark.parametrize("layer", ["k_proj", "v_proj"])
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_a_hook_on_keys_or_values_of_the_last_block_counts(tiny_clip, tower, layer):
    net = build(tiny_clip)
    attention = net.backbone.towers[tower].part("attention", -1)
    whole, seen = with_whole_blocks(net), []
    before = net(clips())
    for each in (attention, whole.backbone.towers[tower].part("attention", -1)):
        each.get_submodule(layer).register_forward_hook(lambda module, args, made: seen.append(made) or made.flip(1))
    check_equal(net, clips(3, 4), whole)
    assert seen
    assert not torch.allclose(net(clips()), before, atol=1e-2)


def test_attention_of_the_tokens_themselves_is_no_less_exact_in_bf16(tiny_clip):
    attention = build(tiny_clip, adapters={}, prompts=None).backbone.towers["vision"].part("attention", -1)
    tokens = torch.randn(64, 50, attention.q_proj.in_features, generator=torch.Generator().manual_seed(0))
    exact = attention.double()(tokens.double(), at=0)[0]
    attention.float()

    def error():
        with torch.autocast("cpu", torch.bfloat16):
            return (attention(tokens, at=0)[0].double() - exact).norm()

    of_tokens = error()
    attention.k_proj.register_forward_hook(lambda module, args, made: made)
    assert 0 < of_tokens < 1.1 * error()
