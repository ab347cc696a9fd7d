from functools import partial

import pytest
import torch

from peclip.errors import InputError
from peclip.model import AIMJointAdapter, AIMTemporalAdapter, SharedAdapter
from peclip.model.parts.temporal import at_frames
from peclip.testing import check_adapter
from tests.model.small import build, clips, size, stir

AIM = {
    "vision.block": AIMTemporalAdapter,
    "vision.attention": partial(SharedAdapter, reduction=4),
    "vision.mlp": AIMJointAdapter,
}


@pytest.mark.parametrize("site", ["vision.block", "vision.block[:1]"])
def test_the_temporal_adapter_keeps_the_contract(site):
    check_adapter(AIMTemporalAdapter, site)


@pytest.mark.parametrize("site", ["vision.mlp", "text.mlp"])
def test_the_joint_adapter_keeps_the_contract(site):
    check_adapter(AIMJointAdapter, site)


def test_the_temporal_adapter_reuses_the_attention_of_its_block_without_the_adapters_there(tiny_clip):
    net = stir(build(tiny_clip, adapters=AIM, prompts=None)).eval()
    adapter, seen = net.adapters["vision"]["block"]["1"], []
    adapter.register_forward_hook(lambda *call: seen.append((call[1][0], call[2])))
    with torch.no_grad():
        net(clips(2, 3))
        ((entering, leaving),) = seen
        with net.bare():
            block = net.clip.vision_model.encoder.layers[1]
            for clip in range(2):
                for token in range(5):
                    frames = entering[3 * clip : 3 * clip + 3, token][None]
                    placed = block.layer_norm1(frames + at_frames(adapter.positions, 3))
                    attended = block.self_attn(hidden_states=placed, attention_mask=None)[0][0]
                    expected = frames[0] + adapter.up(torch.nn.functional.gelu(adapter.down(attended)))
                    assert torch.allclose(leaving[3 * clip : 3 * clip + 3, token], expected, atol=1e-5)


def test_the_order_of_the_frames_counts(tiny_clip):
    net = stir(build(tiny_clip, adapters=AIM, prompts=None)).eval()
    video = clips(1, 6)
    with torch.no_grad():
        assert (net(video) - net(video.flip(1))).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_temporal_adapter_works_in_another_precision(tiny_clip, dtype):
    net = stir(build(tiny_clip, adapters=AIM, prompts=None)).eval()
    with torch.no_grad():
        plain = net(clips())
        assert (net.to(dtype)(clips().to(dtype)) - plain).abs().max() < 2


def test_the_joint_adapter_is_a_bottleneck_of_the_input():
    adapter = AIMJointAdapter(2, reduction=2)
    weights = {"down.weight": [[1.0, 2.0]], "down.bias": [0.5], "up.weight": [[3.0], [-1.0]], "up.bias": [0.0, 4.0]}
    adapter.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    out, entering = torch.tensor([[[10.0, 20.0]]]), torch.tensor([[[1.0, -1.0]]])
    # W_down x + b = -0.5, GELU(-0.5) = -0.15426877
    expected = torch.tensor([[[10 + 0.5 * 3 * -0.15426877, 20 + 0.5 * (0.15426877 + 4)]]])
    assert torch.allclose(adapter(out, 1, entering), expected, atol=1e-6)


def test_size_in_vit_b_16():
    bottleneck = 768 * 192 + 192 + 192 * 768 + 768
    assert size(AIMJointAdapter(768)) == bottleneck
    assert size(AIMTemporalAdapter(768)) == bottleneck + 16 * 768


@pytest.mark.parametrize("site", ["text.block", "vision.attention"])
def test_the_temporal_adapter_is_refused_elsewhere(tiny_clip, site):
    message = f"adapters: AIMTemporalAdapter is at '{site}', but works at vision.block only"
    with pytest.raises(InputError, match=message):
        build(tiny_clip, adapters={site: AIMTemporalAdapter})


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            partial(AIMTemporalAdapter, reduction=0),
            "AIMTemporalAdapter: reduction is 0, expected 1 to the width of the tower",
        ),
        (partial(AIMTemporalAdapter, positions=0), "AIMTemporalAdapter: positions is 0, expected 1 to 10,000"),
        (
            partial(AIMJointAdapter, reduction=33),
            "AIMJointAdapter: reduction is 33, expected 1 to the width of the tower",
        ),
        (partial(AIMJointAdapter, scale=-1), "AIMJointAdapter: scale is -1, expected a number above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(factory, message):
    with pytest.raises(InputError, match=message):
        factory(32)
