import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from itertools import product

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from peclip.class_texts import class_texts
from peclip.clip_format import ClipFormat
from peclip.errors import InputError
from peclip.labels import SEVEN
from peclip.model import PE_CLIP, Adapter, MaPLe, PEClip, SharedAdapter, TemporalDynamicAdapter, TextAdapter
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.io.spec import Spec
from peclip.model.io.trained import ModelConfig
from tests.model.small import LABELS, build, check_exported, clips, logits, size, stir, train_step, trainable

PARTS = {
    "sha": {"vision.attention": SharedAdapter, "text.attention": SharedAdapter},
    "ta": {"text.mlp": TextAdapter},
    "tda": {"vision.mlp": TemporalDynamicAdapter},
}
"""The adapters of PE-CLIP by part; the fourth part is MaPLe."""

BOTTLENECK = ["down.weight", "down.bias", "up.weight", "up.bias"]
TEMPORAL = [
    *("norm.weight", "norm.bias", "scale.weight", "scale.bias", *BOTTLENECK),
    *("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"),
]

PROMPT_NAMES = {
    f"prompts.{name}"
    for depth in (0, 1)
    for name in (f"tokens.{depth}", f"project.{depth}.weight", f"project.{depth}.bias")
}


def named(site, names=BOTTLENECK, blocks=(0, 1)):
    return {f"adapters.{site}.{block}.{name}" for block in blocks for name in names}


class Shift(Adapter):
    """An adapter from elsewhere: a learned shift."""

    def __init__(self, width, start=0.0):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.full((width,), start))

    def forward(self, x, frames):
        return x + self.shift


def zero_shot(folder, video, texts):
    """Logits of CLIP itself, computed without anything of peclip."""
    from transformers import AutoTokenizer

    clip, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        text = clip.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output
        frames = clip.get_image_features(pixel_values=video.flatten(0, 1)).pooler_output
        video = frames.view(len(video), -1, frames.shape[-1]).mean(dim=1)
        return 100 * F.normalize(video, dim=-1) @ F.normalize(text, dim=-1).T


class TestZeroShot:
    @pytest.mark.parametrize("style", ["action_units", "names", "sentences"])
    def test_without_any_part_it_is_clip(self, tiny_clip, style):
        net = build(tiny_clip, adapters={}, prompts=None, texts=style)
        video = clips(3, 4)
        expected = zero_shot(tiny_clip, video, class_texts(LABELS, style))
        assert torch.allclose(logits(net, video), expected, atol=1e-4, rtol=1e-5)
        assert trainable(net) == {}

    def test_a_fresh_model_with_all_adapters_is_clip_bit_for_bit(self, tiny_clip):
        video = clips(3, 4)
        expected = logits(build(tiny_clip, adapters={}, prompts=None), video)
        assert torch.equal(logits(build(tiny_clip, prompts=None), video), expected)

    def test_within_bare_any_model_is_clip_bit_for_bit(self, tiny_clip, whole):
        video = clips(3, 4)
        expected = logits(build(tiny_clip, adapters={}, prompts=None), video)
        with whole.bare():
            assert torch.equal(logits(whole, video), expected)

    def test_logits_are_scaled_cosines(self, tiny_clip, whole):
        with torch.no_grad():
            video, text = whole.encode_video(clips()), whole.encode_text()
        assert torch.allclose(video.norm(dim=-1), torch.ones(2))
        assert torch.allclose(text.norm(dim=-1), torch.ones(3))
        assert torch.equal(logits(whole), 100 * video @ text.T)
        halved = stir(build(tiny_clip, logit_scale=50.0))
        assert torch.allclose(logits(halved) * 2, logits(whole), atol=1e-5)


class TestParts:
    @pytest.mark.parametrize(
        "chosen", list(product([False, True], repeat=4)), ids=lambda c: "".join(map(str, map(int, c)))
    )
    def test_any_subset_of_adapters_and_prompts_trains_alone(self, tiny_clip, chosen):
        *parts, prompts = chosen
        adapters = {}
        for part, wanted in zip(PARTS.values(), parts, strict=True):
            adapters |= part if wanted else {}
        net = stir(build(tiny_clip, adapters=adapters, prompts=MaPLe if prompts else None))
        frozen = {name: value.clone() for name, value in net.clip.state_dict().items()}
        before = logits(net)
        assert before.shape == (2, 3)
        if any(chosen):
            gradients = train_step(net)
            owned = {name for name, _ in net.named_parameters() if not name.startswith("clip.")}
            assert set(gradients) == set(trainable(net)) == owned
            assert [name for name, gradient in gradients.items() if not gradient.abs().max() > 0] == []
            assert not torch.equal(logits(net), before)
        else:
            assert not net(clips()).requires_grad
        assert all(torch.equal(value, frozen[name]) for name, value in net.clip.state_dict().items())

    def test_a_fresh_model_gives_every_trainable_parameter_a_gradient(self, tiny_clip):
        net = build(tiny_clip)
        assert set(train_step(net)) == set(trainable(net)), "or training on many devices would wait for them"

    @pytest.mark.parametrize(
        ("adapters", "prompts", "names", "count"),
        [  # width 32, reduction 8: a bottleneck is 32*4 + 4 + 4*32 + 32 = 292; the TDA adds 64 + 33 + 2*(12*4 + 12) = 217
            (PARTS["sha"], None, named("vision.attention") | named("text.attention"), 4 * 292),
            (PARTS["ta"], None, named("text.mlp"), 2 * 292),
            (PARTS["tda"], None, named("vision.mlp", TEMPORAL), 2 * (292 + 217)),
            ({}, MaPLe, PROMPT_NAMES, 2 * (2 * 32 + 32 * 32 + 32)),
            ({"text.mlp[1:]": TextAdapter}, None, named("text.mlp", blocks=[1]), 292),
        ],
        ids=["sha", "ta", "tda", "maple", "slice"],
    )
    def test_trainable_is_what_the_parts_own(self, tiny_clip, adapters, prompts, names, count):
        net = build(tiny_clip, adapters=adapters, prompts=prompts)
        assert set(trainable(net)) == set(net.trainable_state()) == names
        assert size(net) == count

    def test_adapters_and_prompts_together_own_every_trainable_parameter(self, whole):
        owned = [*whole.adapters.parameters(), *whole.prompts.parameters()]
        assert {id(parameter) for parameter in owned} == {id(parameter) for parameter in trainable(whole).values()}

    def test_vit_b_16_has_the_parameters_of_the_paper(self):
        vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        config = CLIPConfig(vision_config={**vision, "patch_size": 16, "image_size": 224}, projection_dim=512)
        with torch.device("meta"):
            backbone = CLIP("openai/clip-vit-base-patch16", freeze(CLIPModel(config)))
            net = PEClip.assemble(backbone, torch.arange(20, device="cpu").repeat(7, 1), SEVEN)
        assert size(net) == 9_399_564
        assert sum(parameter.numel() for parameter in net.parameters()) == 159_020_301

    def test_clip_keeps_the_names_of_its_tensors(self, tiny_clip, whole):
        assert list(whole.clip.state_dict()) == list(CLIPModel.from_pretrained(tiny_clip).state_dict())

    def test_an_adapter_from_elsewhere_needs_only_its_class(self, tiny_clip):
        net = build(
            tiny_clip, adapters={"vision.mlp[1:]": Shift, "text.attention": partial(Shift, start=0.5)}, prompts=None
        )
        assert set(trainable(net)) == {
            *("adapters.vision.mlp.1.shift", "adapters.text.attention.0.shift", "adapters.text.attention.1.shift")
        }
        assert all(gradient.abs().max() > 0 for gradient in train_step(net).values())
        assert net.config.adapters["text.attention"] == Spec("tests.model.test_peclip.Shift", {"start": 0.5})

    def test_sites_may_split_a_tower_among_adapters(self, tiny_clip):
        net = build(
            tiny_clip, adapters={"vision.mlp[:1]": TextAdapter, "vision.mlp[-1:]": TemporalDynamicAdapter}, prompts=None
        )
        assert {block: type(adapter) for block, adapter in net.adapters["vision"]["mlp"].items()} == {
            "0": TextAdapter,
            "1": TemporalDynamicAdapter,
        }

    def test_training_mode_never_reaches_clip(self, net):
        net.train()
        assert net.adapters.training
        assert net.prompts.training
        assert not any(module.training for module in net.clip.modules())


class TestIndependence:
    def test_a_clip_has_the_same_logits_alone_and_in_any_batch_in_any_order(self, whole):
        video = clips(6, 5)
        alone = torch.cat([logits(whole, video[i : i + 1]) for i in range(6)])
        assert (alone - alone.roll(1, 0)).abs().max() > 0.1
        for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [2, 2, 2], [4, 0]):
            assert (logits(whole, video[order]) - alone[order]).abs().max() < 1e-5

    def test_scope_batch_makes_a_clip_depend_on_those_before_it(self, tiny_clip):
        released = {**PE_CLIP, "vision.mlp": partial(TemporalDynamicAdapter, scope="batch")}
        net, video = stir(build(tiny_clip, adapters=released)), clips(2, 5)
        together = logits(net, video)
        assert (together[0] - logits(net, video[:1])).abs().max() < 1e-5
        assert (together[1] - logits(net, video[1:])).abs().max() > 1e-3

    def test_number_of_frames_may_change_from_batch_to_batch(self, whole):
        video = clips(2, 8)
        first = logits(whole, video)
        for frames in (1, 3, 12):
            assert logits(whole, clips(2, frames)).shape == (2, 3)
        assert torch.equal(logits(whole, video), first)

    def test_order_of_the_frames_matters_to_the_temporal_adapter_alone(self, tiny_clip, whole):
        video = clips(2, 6)
        assert (logits(whole, video) - logits(whole, video.flip(1))).abs().max() > 1e-3
        still = stir(build(tiny_clip, without=["vision.mlp"]))
        assert (logits(still, video) - logits(still, video.flip(1))).abs().max() < 1e-5


class TestThreads:
    @pytest.mark.parametrize("tower", ["vision", "text"])
    def test_a_pass_is_not_changed_by_one_of_another_thread(self, whole, net, tower):
        def run(net, count):
            return (
                net.encode_video(clips(2, count)) if tower == "vision" else net.encode_text(["a smile"] * count)
            ).detach()

        def meanwhile(*call):
            if not found:
                found.append(None)
                with ThreadPoolExecutor(1) as pool:
                    found[0] = pool.submit(run, net, 2).result()

        found = []
        net.backbone.towers[tower].entrance.register_forward_hook(meanwhile)
        assert torch.equal(run(net, 3), run(whole, 3))
        assert torch.equal(found[0], run(whole, 2))


class TestBare:
    def test_leaving_bare_restores_the_model_bit_for_bit(self, whole):
        before = logits(whole)
        with whole.bare() as same:
            assert same is whole
            assert not torch.equal(logits(whole), before)
            assert not any(module._forward_hooks for module in whole.clip.modules())
        assert torch.equal(logits(whole), before)

    def test_an_error_within_bare_restores_the_model_too(self, whole):
        before = logits(whole)
        with pytest.raises(RuntimeError, match="boom"), whole.bare():
            raise RuntimeError("boom")
        assert torch.equal(logits(whole), before)

    def test_bare_may_be_nested(self, whole):
        before = logits(whole)
        with whole.bare():
            without = logits(whole)
            with whole.bare():
                pass
            assert torch.equal(logits(whole), without)
        assert torch.equal(logits(whole), before)


class TestSaving:
    def test_what_is_saved_is_what_was_trained_and_brings_it_back(self, tiny_clip, net):
        train_step(net)
        stored = load(save({name: value.contiguous() for name, value in net.trainable_state().items()}))
        assert set(stored) == set(trainable(net))
        other = stir(build(tiny_clip), seed=9)
        before = logits(other)
        other.load_trainable(stored, "a copy")
        assert torch.equal(logits(other), logits(net))
        assert not torch.equal(logits(other), before)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.pop("prompts.tokens.1"), r"run.ckpt lacks prompts.tokens.1: it was made with other"),
            (lambda state: state.clear(), r"run.ckpt lacks adapters\..* and \d+ more: it was made with other"),
            (
                lambda state: state.update(x=torch.ones(1)),
                r"run.ckpt has, but the model has not, x: it was made",
            ),
            (
                lambda state: state.update({"prompts.tokens.0": torch.ones(3, 32)}),
                r"run.ckpt: prompts.tokens.0 has shape \(3, 32\), the model's has \(2, 32\)",
            ),
        ],
    )
    def test_weights_of_another_model_are_refused_and_change_nothing(self, whole, change, message):
        before, state = logits(whole), {name: value + 1 for name, value in whole.trainable_state().items()}
        change(state)
        with pytest.raises(InputError, match=message):
            whole.load_trainable(state, "run.ckpt")
        assert torch.equal(logits(whole), before)

    def test_config_describes_adapters_prompts_texts_and_clips(self, tiny_clip, whole):
        assert whole.config == ModelConfig(
            backbone=str(tiny_clip),
            fingerprint=whole.backbone.fingerprint,
            labels=LABELS,
            adapters={site: Spec(f"peclip.model.{factory.__name__}", {}) for site, factory in PE_CLIP.items()},
            prompts=Spec("peclip.model.MaPLe", {"depth": 2}),
            logit_scale=100.0,
            clip_format=ClipFormat(16, 32),
            texts=dict(zip(LABELS, class_texts(LABELS), strict=True)),
        )


class TestCopies:
    def test_a_copy_made_in_mid_training_lives_its_own_life(self, net):
        net(clips()).sum().backward()
        copy = deepcopy(net)
        assert torch.equal(logits(copy), logits(net))
        before = logits(net)
        stir(copy, seed=3)
        assert torch.equal(logits(net), before)
        assert not torch.equal(logits(copy), before)
        with copy.bare():
            assert torch.equal(logits(net), before)

    def test_a_copy_may_be_made_after_inference_mode(self, net):
        with torch.inference_mode():
            expected = net(clips())
        assert torch.equal(logits(deepcopy(net)), expected)

    @pytest.mark.parametrize("copied", [deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_a_copy_made_within_bare_has_all_parts(self, net, copied):
        expected = logits(net)
        with net.bare():
            copy = copied(net)
        assert torch.equal(logits(copy), expected)
        with copy.bare():
            assert torch.equal(logits(net), expected)

    @pytest.mark.parametrize(("dtype", "of_logits"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
    def test_a_model_works_in_another_precision(self, net, dtype, of_logits):
        plain = logits(net)
        net.to(dtype)
        moved = logits(net, clips().to(dtype))
        assert moved.dtype == of_logits
        assert (moved - plain).abs().max() < (2 if dtype == torch.bfloat16 else 1e-3)
        assert all(gradient.dtype == dtype for gradient in train_step(net, clips().to(dtype)).values())

    def test_logits_and_features_are_not_rounded_to_bfloat16_under_autocast(self, net):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            video, texts, found = net.encode_video(clips()), net.encode_text(), net(clips())
        assert torch.equal(found, net.logit_scale * video @ texts.T)
        assert (video.norm(dim=-1) - 1).abs().max() < 1e-6
        assert all((tensor.bfloat16().float() != tensor).any() for tensor in (video, texts, found))

    def test_frozen_matrices_held_in_bfloat16_give_the_same_results_under_autocast(self, whole, net):
        video = clips(2)
        net.hold_frozen_in(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(net(video), whole(video))
            with net.bare(), whole.bare():
                assert torch.equal(net(video), whole(video))
        assert {weight.dtype for weight in [*net.adapters.parameters(), *net.prompts.parameters()]} == {torch.float32}
        assert net.clip.visual_projection.weight.dtype == torch.bfloat16

    def test_a_clip_in_bfloat16_trains_adapters_in_single_precision_under_autocast(self, net):
        plain = logits(net)
        net.clip.to(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            gradients = train_step(net)
        assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
        assert plain.isfinite().all()


@pytest.mark.slow
def test_an_exported_graph_takes_any_number_of_clips(tiny_clip):
    check_exported(stir(build(tiny_clip)))
