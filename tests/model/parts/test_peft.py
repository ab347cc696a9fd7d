"""Layers of Hugging Face PEFT around the frozen backbone: trained, seen by every path, saved, and detached."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch

from peclip.errors import InputError
from peclip.model import PEClip, read_trained
from peclip.model.arithmetic import clip_flops
from peclip.model.io.checkpoint import from_checkpoint, to_checkpoint
from peclip.model.parts.in_place import each_layer
from peclip.model.parts.peft_config import METHODS, describe_method, method_of
from peclip.train.cli.arguments import check_peft
from tests.model.small import build, clips, size, stir, trainable, with_whole_blocks

peft = pytest.importorskip("peft")

LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
ARGUMENTS = {
    "MissConfig": {"r": 4},
    "C3AConfig": {"block_size": 8},
    "FourierFTConfig": {"n_frequency": 10},
    "IA3Config": {"feedforward_modules": ["fc1"]},
}


def lora(*targets, **arguments):
    return peft.LoraConfig(**{"r": 2, "target_modules": [*(targets or ("q_proj", "v_proj"))], **arguments})


def alone(folder, method=None, **options):
    """A PEClip whose only trainable parts are layers of PEFT."""
    return build(folder, adapters={}, prompts=None, peft=method or lora(), **options)


def logits(net):
    with torch.no_grad():
        return net(clips())


def test_lora_starts_as_the_identity_and_is_counted(tiny_clip):
    bare, net = build(tiny_clip, adapters={}, prompts=None), alone(tiny_clip)
    assert torch.equal(*(logits(with_whole_blocks(each)) for each in (net, bare)))
    assert torch.allclose(logits(net), logits(bare), atol=1e-4)
    assert size(net) == 8 * 2 * (32 + 32)  # two layers in each of four blocks
    assert clip_flops(net) > clip_flops(bare)


@pytest.mark.parametrize("targets", [*((name,) for name in LINEAR), ("text_projection",), ("visual_projection",)])
def test_every_targeted_layer_changes_the_logits_and_has_a_gradient_in_the_last_block_too(tiny_clip, targets):
    bare, net = logits(build(tiny_clip, adapters={}, prompts=None)), stir(alone(tiny_clip, lora(*targets)))
    layers = dict(each_layer(net.peft))
    assert len(layers) == (1 if targets[0].endswith("_projection") else 4)
    net(clips()).square().sum().backward()
    for name, layer in layers.items():
        for weight in layer.parameters():
            assert weight.grad.abs().sum() > 0, name
    whole = {name: value.clone() for name, value in net.trainable_state().items()}
    for name in layers:  # each of them counts, alone
        state = {key: value if key.startswith(f"peft.{name}.") else 0 * value for key, value in whole.items()}
        net.load_trainable({key: 0 * value for key, value in whole.items()}, "nothing")
        assert torch.allclose(logits(net), bare, atol=1e-5)
        net.load_trainable(state, "this layer")
        assert not torch.allclose(logits(net), bare, atol=1e-3), name


def test_the_path_of_one_token_and_the_whole_block_agree(tiny_clip):
    net = stir(alone(tiny_clip, lora(*LINEAR)), scale=0.3)
    assert not any(net._mixes.values())
    short = logits(net)
    net._mixes = dict.fromkeys(net._mixes, True)
    net._texts.clear()
    assert torch.allclose(logits(net), short, atol=1e-4)


def test_it_is_what_peft_computes_in_hugging_faces_own_model(tiny_clip):
    net = stir(alone(tiny_clip, lora(*LINEAR)))
    theirs = build(tiny_clip, adapters={}, prompts=None)
    peft.inject_adapter_in_model(lora(*LINEAR), theirs.clip)
    own = {name.removeprefix("peft."): value for name, value in net.trainable_state().items()}
    _, unexpected = theirs.clip.load_state_dict(own, strict=False)
    assert not unexpected
    assert torch.allclose(logits(theirs), logits(net), atol=1e-5)


def test_taking_it_out_restores_the_bare_backbone_and_its_names_never_change(tiny_clip):
    bare, net = build(tiny_clip, adapters={}, prompts=None), stir(alone(tiny_clip))
    assert net.clip.state_dict().keys() == bare.clip.state_dict().keys()
    before = logits(net)
    with net.bare():
        assert torch.equal(logits(net), logits(bare))
        assert all("forward" not in vars(module) for module in net.clip.modules())
    assert torch.equal(logits(net), before)
    assert not torch.equal(before, logits(bare))
    assert all(not weight.requires_grad for weight in net.clip.parameters())


def test_beside_adapters_and_prompts_all_of_it_is_saved_and_restored(tiny_clip, tmp_path):
    net = stir(build(tiny_clip, peft=lora())).eval()
    assert {name.partition(".")[0] for name in net.trainable_state()} == {"adapters", "prompts", "peft"}
    assert net.trainable_state().keys() == trainable(net).keys()
    net.save_pretrained(tmp_path / "package")
    again = PEClip.from_pretrained(tmp_path / "package")
    assert torch.equal(logits(again), logits(net))
    assert again.config.peft == net.config.peft
    checkpoint = to_checkpoint(net.to_trained())
    assert torch.equal(logits(PEClip.from_trained(from_checkpoint(checkpoint, "it"))), logits(net))
    assert torch.equal(logits(deepcopy(net)), logits(net))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_is_saved_and_leaves_the_backbone_alone(tiny_clip, tmp_path, name):
    method = getattr(peft, name)(target_modules=["v_proj", "fc1"], **ARGUMENTS.get(name, {}))
    assert describe_method(method_of(describe_method(method))) == describe_method(method)
    net, bare = alone(tiny_clip, method), build(tiny_clip, adapters={}, prompts=None)
    generator = torch.Generator().manual_seed(0)
    for weight in net.peft.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    net(clips()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.peft.parameters())
    assert not torch.allclose(logits(net), logits(bare), atol=1e-4)
    net.eval().save_pretrained(tmp_path / "package")
    assert torch.equal(logits(PEClip.from_pretrained(tmp_path / "package")), logits(net))
    with net.bare():
        assert torch.equal(logits(net), logits(bare))


def test_a_frozen_backbone_in_bf16_keeps_layers_in_fp32(tiny_clip):
    net = stir(alone(tiny_clip, lora(*LINEAR)))
    with torch.autocast("cpu", torch.bfloat16):
        before = logits(net)
        net.hold_frozen_in(torch.bfloat16)
        assert torch.equal(logits(net), before)
        net(clips()).float().square().sum().backward()
    assert {weight.dtype for weight in net.peft.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in net.peft.parameters()} == {torch.float32}
    assert net.clip.vision_model.encoder.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16


def test_a_memory_budget_is_refused_with_dropout(tiny_clip):
    for dropout in (0.0, 0.5):
        with pytest.raises(InputError, match="has dropout") if dropout else nullcontext():
            alone(tiny_clip, lora(lora_dropout=dropout), compile=True, activation_memory_budget=0.7)


def test_recomputed_blocks_drop_the_same_values(tiny_clip):
    grads = []
    for checkpointing in (False, True):
        net = stir(alone(tiny_clip, lora(lora_dropout=0.5), checkpointing=checkpointing))
        torch.manual_seed(3)
        net(clips()).square().sum().backward()
        grads.append(torch.cat([weight.grad.flatten() for weight in net.peft.parameters()]))
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-5)
    assert net.draws


@pytest.mark.parametrize("arguments", [{"rank_dropout": 0.5}, {"module_dropout": 0.5}])
def test_layers_that_draw_without_a_module_for_it_are_seeded_too(tiny_clip, arguments):
    """LoHa and LoKr call torch's generator themselves: recomputed blocks and resumed steps must draw the same."""
    for kind in (peft.LoHaConfig, peft.LoKrConfig):
        net = alone(tiny_clip, kind(r=2, target_modules=["q_proj", "fc1"], **arguments), checkpointing=True)
        assert net.draws
        assert net._execution.draws
        assert not alone(tiny_clip, kind(r=2, target_modules=["q_proj"])).draws


def test_text_features_follow_the_layers(tiny_clip):
    net = alone(tiny_clip, lora()).eval()
    with torch.no_grad():
        before = net.encode_text()
        stir(net)
        assert not torch.allclose(net.encode_text(), before)


REFUSED = {
    "nothing": (
        {"target_modules": ["q_proj", "nothing"]},
        "target_modules has 'nothing', which matches no linear layer",
    ),
    "a pattern": ({"target_modules": r".*\.nothing"}, "Target modules .*\\.nothing not found"),
    "a whole sub-layer": ({"target_modules": ["self_attn"]}, "'self_attn', which matches no linear layer"),
    "a pattern of sub-layers": ({"target_modules": r".*\.(self_attn|q_proj)"}, "CLIPAttention"),
    "a convolution": ({"target_modules": r".*\.(patch_embedding|q_proj)"}, "only linear layers can be targets"),
    "no target": ({"target_modules": None}, "specify `target_modules`"),
    "no block": ({"layers_to_transform": 7}, "layers_to_transform has 7, expected blocks from 0 to 1"),
    "biases": ({"bias": "all"}, "of the frozen backbone, expected weights of its own alone"),
    "weights that are changed": (
        {"init_lora_weights": "pissa"},
        "init_lora_weights is 'pissa', expected a bool, gaussian",
    ),
    "weights that are changed unseen": (
        {"init_lora_weights": "olora"},
        "which need no clips and leave the frozen backbone",
    ),
    "an initialisation by clips": (
        {"init_lora_weights": "lora_ga"},
        "init_lora_weights is 'lora_ga', expected a bool, gaussian",
    ),
    "several adapters": ({"arrow_config": {"top_k": 3}}, "arrow_config is ArrowConfig"),
    "quantised layers": ({"use_qalora": True}, "use_qalora is not supported: omit it"),
    "another layout": ({"fan_in_fan_out": True}, "fan_in_fan_out is set to True but"),
    "a rank of nothing": ({"rank_pattern": {"nothing": 4}}, "rank_pattern keys did not match any targeted module"),
    "a rank that is none": (
        {"rank_pattern": {"q_proj": "many"}},
        "rank_pattern has 'many' for 'q_proj', expected a number",
    ),
    "a factor of nothing": ({"alpha_pattern": {"nothing": 4}}, "alpha_pattern keys did not match any targeted module"),
    "a factor of 0": ({"lora_alpha": 0}, "lora_alpha is 0, which would train nothing"),
    "excluding nothing": (
        {"exclude_modules": ["v_proj", "nothing"]},
        "exclude_modules has 'nothing', which matches no",
    ),
    "excluding no pattern": (
        {"exclude_modules": r".*\.nothing"},
        "exclude_modules has '.*\\\\.nothing', which matches no",
    ),
    "no regular expression": (
        {"target_modules": ".*(q_proj"},
        "target_modules has '.*(q_proj', which is not a regular expr",
    ),
    "a block too many": (
        {"layers_to_transform": [0, 7]},
        "layers_to_transform has 7, expected blocks from 0 to 1",
    ),
    "weights to save": ({"modules_to_save": ["fc1"]}, "modules_to_save is not supported: omit it"),
    "a module to import": ({"megatron_core": "this"}, "megatron_core is not supported"),
    "no rank": ({"r": 0}, "`r` should be a positive integer"),
    "an absurd rank": ({"r": 10**9}, "512,000,000,000 parameters, expected at most those of its backbone"),
    "inference": ({"inference_mode": True}, "inference_mode is true, which would train nothing"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_be_is_refused_in_one_line(tiny_clip, what):
    arguments, says = REFUSED[what]
    with pytest.raises(InputError) as error:
        alone(tiny_clip, peft.LoraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj"], **arguments}))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "peft" in error.value.arguments


def test_methods_of_other_kinds_are_refused(tiny_clip):
    with pytest.raises(InputError, match=r"peft is 'AdaLoraConfig', expected one of peft\.LoraConfig"):
        alone(tiny_clip, peft.AdaLoraConfig(target_modules=["q_proj"], total_step=10))


def test_layers_put_into_the_backbone_by_hand_are_refused_where_they_would_be_lost(tiny_clip, tmp_path):
    net = build(tiny_clip)
    peft.inject_adapter_in_model(lora(), net.clip)
    for thawed in (True, False):
        net.clip.requires_grad_(thawed)
        for call in (net.to_trained, lambda: net.save_pretrained(tmp_path / "package")):
            with pytest.raises(
                InputError, match=r"of the backbone (is trainable|was added to it), but only adapters, prompts"
            ):
                call()
    assert not (tmp_path / "package").exists()


def test_a_file_may_name_configurations_of_peft_alone(tiny_clip, tmp_path):
    net = stir(alone(tiny_clip))
    content = to_checkpoint(net.to_trained())
    for path in ("os.system", "peft.PeftModel", "peft.tuners.lora.LoraConfig", "peft.XLoraConfig"):
        content["peclip"]["peft"] = {"class_path": path, "init_args": {}}
        with pytest.raises(InputError, match=r"is none of peft\.LoraConfig"):
            from_checkpoint(content, "the file")
    content["peclip"]["peft"] = {"class_path": "peft.LoraConfig", "init_args": {"megatron_core": "this"}}
    with pytest.raises(InputError, match="megatron_core is not supported"):
        from_checkpoint(content, "the file")
    content["peclip"]["peft"] = {"class_path": "peft.LoraConfig", "init_args": {"r": 3, "target_modules": ["q_proj"]}}
    with pytest.raises(InputError, match="the file"):
        PEClip.from_trained(from_checkpoint(content, "the file"))


def test_other_arguments_than_those_of_the_training_are_refused(tiny_clip):
    trained = stir(alone(tiny_clip)).to_trained()
    other = alone(tiny_clip, lora(lora_alpha=32))
    with pytest.raises(InputError, match=r"peft is .*32.*, but this model was trained with"):
        other.load_trained(trained)


def test_without_the_package_the_error_says_what_to_install(tiny_clip, monkeypatch):
    trained = stir(alone(tiny_clip)).to_trained()
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"missing: pip install 'peclip\[peft\]'"):
        PEClip.from_trained(trained)


def test_a_run_is_read_wherever_a_model_is(tiny_clip, tmp_path):
    net = stir(alone(tiny_clip)).eval()
    net.save_pretrained(tmp_path / "package", dtype="bf16")
    assert read_trained(tmp_path / "package").config.peft.init_args == {"r": 2, "target_modules": ["q_proj", "v_proj"]}


@pytest.mark.parametrize("name", ["", "adapter_config.json"])
def test_an_adapter_that_peft_has_saved_is_named_and_said_to_be_merged(tmp_path, name):
    (tmp_path / "adapter_config.json").write_text("{}")
    saved = tmp_path / name
    says = "an adapter that PEFT has saved can be merged into its CLIP"
    with pytest.raises(InputError, match=rf"^peft is '{saved}', expected a configuration.*{says}"):
        PEClip(["anger", "fear"], peft=saved)
    with pytest.raises(InputError, match=rf"^model.net.peft is '{saved}', .*{says}"):
        check_peft([f"--model.net.peft={saved}"])
    with pytest.raises(InputError, match="is an adapter that Hugging Face PEFT has saved, expected a run"):
        read_trained(tmp_path)
