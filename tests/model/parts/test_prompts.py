from functools import partial

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from peclip.errors import InputError
from peclip.model import VPT, CoOp, MaPLe
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.modules import build_prompts
from tests.conftest import write_tiny_clip
from tests.model.small import build, clips, size, stir, trainable


def test_vision_prompts_are_a_linear_map_of_the_text_prompts_of_their_depth():
    prompts = MaPLe(32, 48, blocks=4, length=2, depth=3)
    text, vision = prompts.text(), prompts.vision()
    assert [tuple(tokens.shape) for tokens in text] == [(2, 32)] * 3
    assert [tuple(tokens.shape) for tokens in vision] == [(2, 48)] * 3
    for depth in range(3):
        layer = prompts.project[depth]
        assert torch.equal(text[depth], prompts.tokens[depth])
        assert torch.equal(vision[depth], F.linear(prompts.tokens[depth], layer.weight, layer.bias))


def test_gradient_of_the_vision_prompts_reaches_the_text_prompts():
    prompts = MaPLe(32, 48, blocks=4, length=2, depth=3)
    sum(tokens.sum() for tokens in prompts.vision()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in prompts.parameters())


def test_size_is_that_of_the_paper():
    prompts = MaPLe(512, 768, blocks=12)
    assert (prompts.length, prompts.depth) == (2, 9)
    assert size(prompts) == 3_555_072
    kinds = ("tokens.{}", "project.{}.weight", "project.{}.bias")
    assert set(trainable(prompts)) == {kind.format(depth) for kind in kinds for depth in range(9)}


def test_prompts_start_as_small_noise():
    values = torch.cat([tokens.flatten() for tokens in MaPLe(512, 8, blocks=4, length=16).text()])
    assert values.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(values.mean().item()) < 0.001


@pytest.mark.parametrize(("blocks", "depth"), [(1, 1), (8, 8), (9, 9), (24, 9)])
def test_prompts_are_nine_deep_or_as_deep_as_there_are_blocks(blocks, depth):
    assert MaPLe(8, 8, blocks).depth == depth


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "MaPLe: length is 0, expected at least 1; to train none, set prompts to None"),
        ({"length": -2}, "MaPLe: length is -2, expected at least 1"),
        ({"depth": 0}, "MaPLe: depth is 0, expected 1 to 4, the blocks of the shorter tower; to train none, set"),
        ({"depth": 5}, "MaPLe: depth is 5, expected 1 to 4"),
    ],
)
def test_length_and_depth_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        MaPLe(32, 32, blocks=4, **options)


@pytest.mark.parametrize(
    ("factory", "count"), [(CoOp, 16 * 512), (VPT, 12 * 10 * 768), (partial(VPT, depth=1), 10 * 768)]
)
def test_sizes_of_the_others_in_vit_b_16(factory, count):
    assert size(factory(512, 768, blocks=12)) == count


def test_prompts_of_one_tower_leave_the_other_alone(tiny_clip):
    for kind, same, other in ((CoOp, "encode_video", "encode_text"), (VPT, "encode_text", "encode_video")):
        net = stir(build(tiny_clip, adapters={}, prompts=kind)).eval()
        inputs = {"encode_video": (clips(),), "encode_text": ()}
        with torch.no_grad():
            found = {name: getattr(net, name)(*inputs[name]) for name in inputs}
            with net.bare():
                assert torch.equal(getattr(net, same)(*inputs[same]), found[same])
                assert not torch.allclose(getattr(net, other)(*inputs[other]), found[other], atol=1e-2)


def test_coop_takes_the_places_after_the_start_token(tiny_clip):
    net, seen = build(tiny_clip, adapters={}, prompts=partial(CoOp, length=4)), []
    text = net.clip.text_model
    text.encoder.layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    net.encode_text()
    positions = text.embeddings.position_embedding.weight[1:5]
    assert torch.equal(seen[0][:, 1:5], (net.prompts.text()[0] + positions).expand(3, -1, -1))


@pytest.mark.parametrize("depth", [1, 2])
def test_vpt_has_tokens_of_its_own_in_each_of_its_blocks(tiny_clip, depth):
    net, seen = build(tiny_clip, adapters={}, prompts=partial(VPT, length=3, depth=depth)), []
    for block in net.clip.vision_model.encoder.layers:
        block.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    net(clips())
    assert [tokens.shape[1] for tokens in seen] == [5 + 3, 5 + 3]
    second = seen[1][:, 5:]
    assert torch.equal(second, net.prompts.vision()[-1].expand(6, -1, -1)) == (depth == 2)


def test_vpt_goes_as_deep_as_the_vision_tower_alone(tmp_path):
    config = CLIPConfig.from_pretrained(write_tiny_clip(tmp_path, blocks=1))
    config.vision_config.num_hidden_layers = 3
    backbone = CLIP("deep", freeze(CLIPModel(config)))
    assert build_prompts(backbone, VPT)[1].init_args == {"depth": 3}
    assert build_prompts(backbone, MaPLe)[1].init_args == {"depth": 1}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (CoOp, {"length": 0}, "CoOp: length is 0, expected at least 1; to train none, set prompts to None"),
        (VPT, {"length": 0}, "VPT: length is 0, expected 1 to 1,000; to train none, set prompts to None"),
        (VPT, {"length": 10**9}, "VPT: length is 1000000000, expected 1 to 1,000"),
        (VPT, {"depth": 5}, "VPT: depth is 5, expected 1 to 4, the blocks of the vision tower"),
        (VPT, {"depth": 0}, "VPT: depth is 0, expected 1 to 4"),
    ],
)
def test_what_is_out_of_range_is_refused(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(32, 32, blocks=4, **options)


def test_a_context_that_leaves_no_room_for_a_text_is_refused(tiny_clip):
    with pytest.raises(InputError, match=r"prompts: length is 158, expected at most 157: .* accepts 160 tokens"):
        build(tiny_clip, prompts=partial(CoOp, length=158))
