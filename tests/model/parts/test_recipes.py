"""The contract that every part of ``configs/parts/`` keeps inside a model, built as its recipe states."""

import re
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F
from transformers import CLIPModel

from peclip.bench.sizes import random_config, random_tokens
from peclip.inference.explain.relevance import maps
from peclip.model import Adapter, PEClip, Prompts, TemporalHead, read_trained
from peclip.model.arithmetic import clip_flops
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.io.checkpoint import to_checkpoint
from peclip.model.io.spec import Spec, resolve
from peclip.model.parts.peft_config import method_of
from peclip.model.watch import watched
from peclip.recipes import FOLDER
from tests.lacking import needs
from tests.model.backbones.families import WRITERS
from tests.model.small import LABELS, build, check_exported, clips, size, stir, train_step, trainable
from tests.model.test_one_token import check_equal

ROOT = Path(__file__).parents[3]

RECIPES = sorted(Path(FOLDER, "parts").glob("*.yaml"))

KINDS = {"prompts": Prompts, "temporal": TemporalHead}
"""Base classes of the parts beside adapters, by option."""


def options_of(recipe):
    """The arguments of PEClip that a recipe states."""
    net = yaml.safe_load(recipe.read_text())["model"]["net"]
    options = {name: entry and made(entry, KINDS[name]) for name, entry in net.items() if name in KINDS}
    if "peft" in net:
        options["peft"] = method_of(Spec(**net["peft"]))
    options |= {"norms": net["norms"]} if "norms" in net else {}
    adapters = {site: made(entry, Adapter) for site, entry in net["adapters"].items()}
    assert options.keys() | {"adapters"} == net.keys()
    return {"adapters": adapters, **options}


def made(entry, kind):
    return resolve(Spec(entry["class_path"], entry.get("init_args", {})), kind)


def starts_as_the_backbone(recipe):
    return not options_of(recipe)["prompts"]


def logits(net, video=None):
    with torch.no_grad():
        return net(clips() if video is None else video)


def bare_logits(net):
    with net.bare():
        return logits(net)


@pytest.fixture(scope="module", params=RECIPES, ids=lambda path: path.stem)
def recipe(request):
    return request.param


@pytest.fixture(scope="module")
def whole(tiny_clip, recipe):
    """A model in which nothing is the identity any more. Tests leave it as it was."""
    return stir(build(tiny_clip, **options_of(recipe))).eval()


@pytest.fixture
def net(whole):
    """A copy of it that a test may change."""
    return deepcopy(whole)


@pytest.fixture(scope="module")
def bare(tiny_clip):
    """The backbone without any part."""
    return build(tiny_clip, adapters={}, prompts=None)


@pytest.fixture(scope="module")
def bare_flops(bare):
    return clip_flops(bare)


def test_the_table_of_parts_has_their_numbers_of_parameters():
    page = (ROOT / "docs/parts.md").read_text()
    rows = dict(re.findall(r"^\|.*\| `?(the default|parts/\w+)`? \|.*\| ([\d,]+) \|$", page, re.MULTILINE))
    recipes = {"the default": {}} | {f"parts/{path.stem}": options_of(path) for path in RECIPES}
    assert recipes.keys() - rows.keys() == {"parts/lora"}  # its number depends on its targets
    with torch.device("meta"):
        backbone = CLIP("vit-b/16", freeze(CLIPModel(random_config("vit-b/16"))))
    ids = random_tokens(backbone, len(LABELS), 16)
    with torch.device("meta"):
        found = {name: size(PEClip.assemble(backbone, ids, LABELS, **recipes[name])) for name in rows}
    assert {name: f"{number:,}" for name, number in found.items()} == rows


def test_a_new_model_is_zero_shot_clip_where_the_part_starts_as_the_identity(tiny_clip, recipe):
    net = build(tiny_clip, **options_of(recipe))
    same = torch.allclose(logits(net), bare_logits(net), atol=1e-4)
    assert same == starts_as_the_backbone(recipe)


def test_taken_out_it_leaves_the_bare_backbone(bare, net):
    expected = logits(bare)
    before = logits(net)
    assert torch.equal(bare_logits(net), expected)
    assert torch.equal(logits(net), before)
    assert not torch.allclose(before, expected, atol=1e-2)


def test_a_gradient_reaches_every_parameter_and_none_of_the_backbone(net):
    net.train()(clips()).square().sum().backward()
    dead = [name for name, weight in trainable(net).items() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert dead == []
    assert trainable(net).keys() == net.trainable_state().keys()
    assert not any(weight.requires_grad or weight.grad is not None for weight in net.clip.parameters())


def test_a_new_part_learns(tiny_clip, recipe):
    net = build(tiny_clip, **options_of(recipe)).train()
    before = logits(net)
    optimizer = torch.optim.SGD(trainable(net).values(), lr=1.0)
    net(clips()).softmax(-1)[:, 0].sum().backward()
    optimizer.step()
    assert not torch.equal(logits(net), before)


IN_TEXT_TOWER = {"coop", "lora", "norms"}


def test_the_texts_are_encoded_once_for_all_training_steps_where_nothing_in_their_tower_learns(recipe, net):
    runs, video = [], clips()
    with torch.inference_mode():
        net(video)  # an evaluation before, whose features a step may use
    net.clip.text_model.register_forward_hook(lambda *call: runs.append(1))
    for seed in range(3):
        train_step(net.train(), clips(seed=seed))
        logits(net.eval())
    assert len(runs) == (2 * 3 if recipe.stem in IN_TEXT_TOWER else 0)
    found = gradients(net.train(), video)
    net._texts.clear()
    assert gradients(net, video).keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in gradients(net, video).items())


def gradients(net, video):
    net.zero_grad()
    F.cross_entropy(net(video), torch.tensor([0, 1])).backward()
    return {name: weight.grad.clone() for name, weight in trainable(net).items()}


def test_packages_and_checkpoints_bring_it_back(net, tmp_path):
    net.save_pretrained(tmp_path / "package")
    torch.save(to_checkpoint(net.to_trained()), tmp_path / "a.ckpt")
    for name in ("package", "a.ckpt"):
        again = PEClip.from_trained(read_trained(tmp_path / name))
        assert torch.equal(logits(again), logits(net))
        assert again.config == net.config


def test_a_clip_is_answered_alike_alone_and_in_a_batch_of_any_length(net):
    video = clips(3, 4)
    together = logits(net, video)
    assert torch.allclose(together[1:2], logits(net, video[1:2]), atol=1e-3)
    for frames in (1, 7):
        assert logits(net, clips(2, frames)).isfinite().all()
    assert torch.equal(logits(net, video), together)


def test_the_last_block_on_one_token_gives_what_the_whole_block_gives(net):
    check_equal(net, clips(3, 4))


def test_blocks_that_are_recomputed_for_the_gradient_give_the_same_one(tiny_clip, recipe, net):
    other = stir(build(tiny_clip, **options_of(recipe), checkpointing=True))
    check_equal(other.train(), clips(), net.train())


def test_its_operations_can_be_counted(bare_flops, net):
    found = clip_flops(net)
    assert found is not None
    assert found > bare_flops or not list(net.adapters.parameters())


def test_where_its_blocks_look_can_be_watched(net):
    seen = watched(net, clips(1, 3)[0])
    prompts = len(net.prompts.vision()[0]) if net.prompts and net.prompts.vision() else 0
    tokens = 5 + prompts
    assert seen.prompts == prompts
    assert [tuple(each.weights().shape) for each in seen.blocks] == [(3, 2, tokens, tokens)] * 2
    found = maps(seen, seen.logits[0])
    assert torch.allclose(found.rollout.sum((1, 2)) + found.prompts, torch.ones(3), atol=1e-5)
    assert (found.prompts > 0).all() == bool(prompts)


@pytest.mark.stress
def test_compiled_blocks_give_the_same_logits_and_gradients(tiny_clip, recipe, net):
    other = stir(build(tiny_clip, **options_of(recipe), compile=True))
    assert torch.allclose(logits(other), logits(net), atol=1e-3)
    video = clips()
    for each in (other, net):
        each.train()(video).square().mean().backward()
    for name, weight in trainable(net).items():
        assert torch.allclose(trainable(other)[name].grad, weight.grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.stress
def test_onnx_files_give_the_same_logits(net, tmp_path):
    pytest.importorskip("onnxruntime", reason=needs("ONNX"))
    from peclip.model.io.onnx import TOLERANCE, write_onnx

    assert write_onnx(net, tmp_path / "model.onnx").worst <= TOLERANCE


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "clip"])
def test_it_fits_every_family_of_backbones(kind, recipe, families):
    net = stir(build(families(kind).path, **options_of(recipe)))
    other = deepcopy(net)
    assert not torch.allclose(logits(net), bare_logits(net), atol=1e-2)
    net.train()(clips()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in trainable(net).values())
    assert torch.equal(logits(other.eval()), logits(net.eval()))


@pytest.mark.slow
def test_an_exported_graph_takes_any_number_of_clips(net):
    check_exported(net)
