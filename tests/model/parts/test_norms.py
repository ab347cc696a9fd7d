"""Norms of the frozen backbone that train: seen by every path, saved, and detached; the recipe's tests have the rest."""

import pytest
import torch

from peclip.errors import InputError
from peclip.model import PEClip
from peclip.model.io.checkpoint import from_checkpoint, to_checkpoint
from peclip.model.parts.in_place import each_layer
from tests.model.small import build, logits, size, stir, trainable


def alone(folder, norms="both"):
    return build(folder, adapters={}, prompts=None, norms=norms)


def test_new_norms_change_no_bit_and_all_of_the_chosen_towers_are_copied(tiny_clip):
    bare = build(tiny_clip, adapters={}, prompts=None)
    names = {name for name, module in bare.clip.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    for norms, prefixes in (("both", ("vision", "text")), ("vision", ("vision",)), ("text", ("text",))):
        net = alone(tiny_clip, norms)
        assert torch.equal(logits(net), logits(bare))
        assert {name for name, _ in each_layer(net.norms)} == {name for name in names if name.startswith(prefixes)}
        assert size(net) == sum(2 * bare.clip.get_submodule(name).weight.numel() for name, _ in each_layer(net.norms))


def test_every_norm_counts_and_text_features_follow(tiny_clip):
    net = alone(tiny_clip).eval()
    first, texts = logits(net), net.encode_text()
    for name, norm in each_layer(net.norms):
        weight = norm.weight.detach().clone()
        with torch.no_grad():
            norm.weight.copy_(0.5 + torch.rand(weight.shape))
            assert not torch.allclose(logits(net), first, atol=1e-4), name
            assert torch.equal(net.encode_text(), texts) == name.startswith("vision")
            norm.weight.copy_(weight)
    assert torch.equal(logits(net), first)


def test_the_backbone_stays_as_it_is_and_bare_is_zero_shot(tiny_clip):
    bare, net = build(tiny_clip, adapters={}, prompts=None), stir(build(tiny_clip, norms="both"))
    assert net.clip.state_dict().keys() == bare.clip.state_dict().keys()
    assert all(torch.equal(value, bare.clip.state_dict()[name]) for name, value in net.clip.state_dict().items())
    assert trainable(net).keys() == net.trainable_state().keys()
    with net.bare():
        assert torch.equal(logits(net), logits(bare))
    assert net.backbone.fingerprint == bare.backbone.fingerprint


def test_other_norms_than_those_of_the_training_are_refused(tiny_clip):
    trained = stir(alone(tiny_clip, "vision")).to_trained()
    with pytest.raises(InputError, match="norms is both, but this model was trained with vision"):
        alone(tiny_clip).load_trained(trained)
    content = to_checkpoint(trained)
    assert torch.equal(
        logits(PEClip.from_trained(from_checkpoint(content, "it"))), logits(PEClip.from_trained(trained))
    )
    content["peclip"]["norms"] = "all"
    with pytest.raises(InputError, match="the file: norms is 'all', expected"):
        from_checkpoint(content, "the file")
    for wrong in ("all", True):
        with pytest.raises(InputError, match=r"norms is .*, expected one of both, vision, text or None"):
            alone(tiny_clip, wrong)
