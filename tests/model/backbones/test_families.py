"""The contract that the backbones of every family keep: the features of Hugging Face, and every part of PE-CLIP."""

from copy import deepcopy
from inspect import signature

import pytest
import torch

from peclip.class_texts import class_texts
from peclip.model import PEClip, read_trained
from peclip.model.arithmetic import clip_flops
from peclip.model.backbones.load import load_backbone
from peclip.model.inject import watch
from peclip.model.io.checkpoint import to_checkpoint
from tests.model.backbones.families import WRITERS
from tests.model.small import LABELS, build, clips, stir, trainable
from tests.runs import trained


@pytest.fixture(scope="module", params=WRITERS)
def family(request, families):
    return families(request.param)


@pytest.fixture(scope="module")
def whole(family):
    """A model with every part, none of them the identity; tests leave it as it was."""
    return stir(build(family.path)).eval()


@pytest.fixture(scope="module")
def bare(family):
    """The backbone without any part; tests leave it as it was."""
    return build(family.path, adapters={}, prompts=None)


def normalized(features):
    return torch.nn.functional.normalize(features, dim=-1)


def logits(net, video=None):
    with torch.no_grad():
        return net(clips() if video is None else video)


@torch.no_grad()
def test_frames_have_the_features_of_hugging_face(family):
    frames = clips().flatten(0, 1)
    found, expected = load_backbone(str(family.path)).encode_frames(frames), family.image_features(frames)
    assert expected.std() > 0.01
    assert (found - expected).abs().max() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("prompts", [True, False])
def test_texts_have_the_features_of_hugging_face(family, prompts):
    net = build(family.path, texts="sentences") if prompts else build(family.path, prompts=None, texts="sentences")
    expected = family.text_features(class_texts(LABELS, "sentences"))
    with net.bare():
        assert (net.encode_text() - normalized(expected)).abs().max() <= 1e-6


@torch.no_grad()
def test_any_texts_have_features(family, whole, bare):
    texts = class_texts(LABELS, "names")
    for net in (whole, bare):
        assert torch.allclose(net.encode_text(list(net.config.texts.values())), net.encode_text(), atol=1e-6)
    assert (net.encode_text(texts) - normalized(family.text_features(texts))).abs().max() <= 1e-6
    assert not torch.allclose(whole.encode_text(texts), net.encode_text(texts), atol=1e-3)


def test_pixels_are_normalised_as_the_preprocessor_states(family, whole):
    clip_format = whole.clip_format
    assert (clip_format.mean, clip_format.std) == family.pixels


@torch.no_grad()
def test_a_frame_without_parts_has_the_logits_of_hugging_face(family):
    net = build(family.path, adapters={}, prompts=None, texts="names", logit_scale=None)
    image = normalized(family.image_features(clips(2, 1)[:, 0]))
    text = normalized(family.text_features(class_texts(LABELS, "names")))
    bias = getattr(family.model, "logit_bias", 0)
    assert torch.allclose(logits(net, clips(2, 1)), family.model.logit_scale.exp() * image @ text.T + bias, atol=1e-4)


def test_a_gradient_reaches_every_parameter_of_every_part_and_none_of_the_backbone(family, whole):
    net = deepcopy(whole)
    net(clips()).square().sum().backward()
    dead = [name for name, weight in trainable(net).items() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert dead == []
    assert not any(weight.requires_grad or weight.grad is not None for weight in net.clip.parameters())


def test_every_part_changes_the_logits(family, whole, bare):
    plain, adapters = logits(bare), signature(PEClip).parameters["adapters"].default
    for site in whole.config.adapters:
        kept = {name: factory for name, factory in adapters.items() if name == site}
        assert not torch.allclose(logits(stir(build(family.path, adapters=kept, prompts=None))), plain, atol=1e-3), site
    assert not torch.allclose(logits(stir(build(family.path, adapters={}))), plain, atol=1e-3)


def test_adapters_that_have_learned_nothing_change_nothing(family, bare):
    assert torch.equal(logits(build(family.path, prompts=None)), logits(bare))


def test_removing_the_parts_restores_the_bare_backbone(whole, bare):
    plain, before = logits(bare), logits(whole)
    with whole.bare():
        assert torch.equal(logits(whole), plain)
    assert torch.equal(logits(whole), before)
    assert not torch.allclose(before, plain, atol=1e-3)


def test_the_prompts_of_each_depth_act(family, whole):
    for depth in range(whole.prompts.depth):
        net = deepcopy(whole)
        net.prompts.tokens[depth].data += 1
        assert not torch.allclose(logits(net), logits(whole), atol=1e-3)


def test_a_clip_is_answered_alike_alone_and_in_a_batch(whole):
    assert torch.allclose(logits(whole, clips(3, 4))[1:2], logits(whole, clips(3, 4)[1:2]), atol=1e-4)


def test_packages_and_checkpoints_bring_the_model_back(family, whole, tmp_path):
    whole.save_pretrained(tmp_path / "package")
    torch.save(to_checkpoint(whole.to_trained()), tmp_path / "a.ckpt")
    for name in ("package", "a.ckpt"):
        net = PEClip.from_trained(read_trained(tmp_path / name))
        assert torch.equal(logits(net), logits(whole))
        assert net.config == whole.config


def test_a_backbone_with_another_weight_is_recognized(family, whole):
    other = deepcopy(whole.backbone)
    del other.__dict__["fingerprint"]
    assert other.fingerprint == whole.backbone.fingerprint != ""
    with torch.no_grad():
        other.clip.vision_model.encoder.layers[-1].mlp.fc2.bias += 1
    del other.__dict__["fingerprint"]
    assert other.fingerprint != whole.backbone.fingerprint


def test_blocks_that_are_recomputed_for_the_gradient_give_the_same_one(family, whole):
    gradients = []
    for options in ({}, {"checkpointing": True}):
        net = stir(build(family.path, **options)).train()
        net(clips()).square().sum().backward()
        gradients.append([weight.grad for weight in trainable(net).values()])
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in zip(*gradients, strict=True))


def test_frozen_matrices_held_in_bf16_give_the_same_logits(family, whole):
    net = deepcopy(whole)
    with torch.autocast("cpu", torch.bfloat16):
        before = logits(net)
        net.hold_frozen_in(torch.bfloat16)
        assert torch.equal(logits(net), before)


def test_a_narrow_residual_is_that_of_all_vision_blocks_within_autocast_alone(whole):
    net = deepcopy(whole)
    exact, entered = logits(net), []
    with torch.autocast("cpu", torch.bfloat16):
        rounded = logits(net)
    net.narrow_residual()
    for block in net.backbone.towers["vision"].blocks:
        watch(block, lambda args, output: entered.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        error = (logits(net) - exact).abs().max()
        with net.bare():
            logits(net)
    assert set(entered) == {torch.bfloat16}
    assert error <= 3 * (rounded - exact).abs().max()
    assert torch.equal(logits(net), exact)


@pytest.mark.stress
def test_onnx_files_give_the_same_logits(whole, tmp_path):
    pytest.importorskip("onnxruntime")
    from peclip.model.io.onnx import TOLERANCE, write_onnx

    assert write_onnx(whole, tmp_path / "model.onnx").worst <= TOLERANCE


@pytest.mark.stress
def test_compiled_blocks_give_the_same_logits(family, whole):
    net = stir(build(family.path, compile=True)).eval()
    assert torch.allclose(logits(net), logits(whole), atol=1e-3)
    net.train()(clips()).square().sum().backward()
    assert all(weight.grad is not None for weight in trainable(net).values())


@pytest.mark.stress
def test_a_run_resumes_from_its_checkpoint_and_ends_with_the_same_weights(family, tiny_config, tmp_path):
    options = ("--config", tiny_config, "--model.net.backbone", family.path, "--model.zero_shot", "false")
    long = trained(tmp_path, *options, "--checkpoint.save_top_k", "-1", "--checkpoint.filename", "{epoch}")
    (first,) = long.glob("checkpoints/epoch=0*.ckpt")
    resumed = trained(tmp_path, *options, "--ckpt_path", first)
    one, other = (read_trained(folder / "checkpoints/last.ckpt").state for folder in (long, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_arithmetic_of_a_clip_is_counted(whole, bare):
    assert 0 < clip_flops(bare) < clip_flops(whole)
