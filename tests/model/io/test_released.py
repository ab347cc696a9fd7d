from functools import partial

import pytest
import torch
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.labels import SEVEN
from peclip.model import PEClip, load_released
from peclip.model.backbones.load import load_tokenizer
from peclip.model.io import released
from peclip.model.io.released import read_released, released_name
from peclip.model.parts.adapters import TemporalDynamicAdapter
from tests.conftest import GOLDEN
from tests.model.released_small import as_saved, small_ids, small_state
from tests.model.small import size, trainable

IDS = torch.tensor(GOLDEN["token_ids"])

ONE_OF_EACH = [name for name in GOLDEN["param_shapes"] if "resblocks" not in name or ".2." in name]
"""The name of every kind of tensor in the released layout: those outside the blocks, and those of the last block."""


def noise(seed, clips=2, frames=16, side=224):
    """Video in [0, 1], as the golden numbers were measured on."""
    return torch.rand(clips, frames, 3, side, side, generator=torch.Generator().manual_seed(seed))


def logits(net, video=None):
    with torch.no_grad():
        return net(noise(5, frames=3, side=64) if video is None else video)


@pytest.fixture(scope="module")
def small():
    """A small released model, built from parameters alone."""
    return load_released(small_state(), token_ids=small_ids())


@pytest.fixture
def run(request, monkeypatch):
    """Options for running the blocks of a released model."""
    monkeypatch.setattr(PEClip, "from_trained", partial(PEClip.from_trained, **request.param))


WAYS = pytest.mark.parametrize(
    "run",
    [
        pytest.param({}, id="eager"),
        pytest.param(
            {"checkpointing": True}, id="checkpointing", marks=pytest.mark.stress
        ),  # small ones are in test_blocks
        pytest.param({"compile": True}, id="compiled", marks=pytest.mark.stress),
        pytest.param({"compile": True, "checkpointing": True}, id="both", marks=pytest.mark.stress),
    ],
    indirect=True,
)


class TestGolden:
    """Numbers measured on the authors' released program; tests/golden/pe_clip_small.json says how."""

    def test_forward_of_the_released_scope(self, released_state):
        net, video = load_released(released_state, token_ids=IDS), noise(GOLDEN["input_seed"])
        alone, together = logits(net, video[1:]), logits(net, video)
        assert torch.allclose(alone, torch.tensor(GOLDEN["logits_each_clip_alone"])[1:], atol=1e-4, rtol=0)
        assert torch.allclose(together, torch.tensor(GOLDEN["logits_batch_of_two"]), atol=1e-4, rtol=0)

    @WAYS
    def test_forward_of_scope_clip_gives_the_logits_of_each_clip_alone_in_any_batch(self, released_state, run):
        net, video = load_released(released_state, token_ids=IDS, scope="clip"), noise(GOLDEN["input_seed"])
        alone, together = logits(net, video[:1]), logits(net, video[[1, 0]])
        expected = torch.tensor(GOLDEN["logits_each_clip_alone"])
        assert torch.allclose(alone, expected[:1], atol=1e-4, rtol=0)
        assert torch.allclose(together, expected[[1, 0]], atol=1e-4, rtol=0)
        assert (together[1:] - alone).abs().max() < 1e-5

    @pytest.mark.parametrize("held", [False, True])
    def test_forward_in_bf16_is_within_its_rounding(self, released_state, held):
        net, video = load_released(released_state, token_ids=IDS, scope="clip"), noise(GOLDEN["input_seed"])
        if held:
            net.hold_frozen_in(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            found = logits(net, video)
        assert torch.allclose(found.float(), torch.tensor(GOLDEN["logits_each_clip_alone"]), atol=0.2, rtol=0)

    @WAYS
    def test_five_steps_of_training(self, released_state, run):
        golden, net = GOLDEN["training"], load_released(released_state, token_ids=IDS).train()
        groups = [
            {"params": net.adapters.parameters(), "lr": golden["lr_adapters"]},
            {"params": net.prompts.parameters(), "lr": golden["lr_prompts"]},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=golden["weight_decay"])
        frozen = {name: value.clone() for name, value in net.clip.state_dict().items()}
        losses = []
        for step in range(golden["steps"]):
            video = noise(golden["input_seed"] + step, frames=golden["frames"])
            loss = F.cross_entropy(net(video), torch.tensor(golden["labels"][step]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses == pytest.approx(golden["losses"], abs=1e-4)
        norms = {released_name(name): parameter.norm().item() for name, parameter in trainable(net).items()}
        assert norms == pytest.approx(golden["final_norms"], rel=1e-4)
        final = logits(net.eval(), noise(golden["final_input_seed"], clips=1, frames=golden["frames"]))
        assert torch.allclose(final, torch.tensor([golden["final_logits"]]).view_as(final), atol=1e-4, rtol=0)
        assert all(torch.equal(value, frozen[name]) for name, value in net.clip.state_dict().items())

    def test_sizes_and_options_are_read_off_the_shapes(self, released_state):
        net = load_released(released_state, token_ids=IDS)
        assert size(net) == GOLDEN["trainable_params"]
        assert sum(parameter.numel() for parameter in net.parameters()) == GOLDEN["total_params"]
        towers = {name: (tower.width, len(tower.blocks)) for name, tower in net.backbone.towers.items()}
        assert towers == {"vision": (768, GOLDEN["layers_v"]), "text": (512, GOLDEN["layers_t"])}
        assert (net.prompts.length, net.prompts.depth) == (GOLDEN["nctx"], GOLDEN["depth"])
        assert net.clip.config.vision_config.patch_size == GOLDEN["patch"]
        assert net.image_size == 224
        assert {site: spec.init_args["reduction"] for site, spec in net.config.adapters.items()} == dict.fromkeys(
            ("vision.attention", "vision.mlp", "text.attention", "text.mlp"), 8
        )
        assert net.labels == list(SEVEN)


class TestLayout:
    def test_model_is_ready_for_evaluation_in_single_precision(self, small):
        assert not any(module.training for module in small.modules())
        assert {parameter.dtype for parameter in small.parameters()} == {torch.float32}
        assert {name.split(".")[0] for name in trainable(small)} == {"adapters", "prompts"}
        assert logits(small).shape == (2, 4)
        assert small.labels == ["class 0", "class 1", "class 2", "class 3"]

    def test_prefix_aliases_and_embedded_texts_make_no_difference(self, small):
        assert torch.equal(logits(load_released(as_saved(small_state()))), logits(small))
        assert torch.equal(logits(load_released(as_saved(small_state()), token_ids=small_ids())), logits(small))

    def test_aliases_alone_are_enough(self, small):
        aliases = {original: f"module.{name}" for name, original in GOLDEN["aliases"].items()}
        state = {aliases.get(name, name): value for name, value in small_state().items()}
        assert torch.equal(logits(load_released(state, token_ids=small_ids())), logits(small))

    def test_half_precision_is_widened(self, small):
        state = {name: value.half() for name, value in as_saved(small_state()).items()}
        net = load_released(state)
        assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
        assert torch.equal(net.token_ids[:, 3:], small.token_ids[:, 3:])
        assert (logits(net) - logits(small)).abs().max() < 0.5

    def test_the_given_state_is_neither_changed_nor_kept(self, small):
        state = {name: value.clone() for name, value in small_state().items()}
        net = load_released(state, token_ids=small_ids())
        for value in state.values():
            value.zero_()
        assert torch.equal(logits(net), logits(small))

    @pytest.mark.parametrize(("gates", "rnn"), [(3, "gru"), (4, "lstm"), (1, "rnn")])
    def test_kind_of_recurrence_is_read_off_its_shape(self, gates, rnn):
        net = load_released(small_state(gates), token_ids=small_ids())
        assert net.config.adapters["vision.mlp"].init_args["rnn"] == rnn
        assert logits(net).isfinite().all()

    @pytest.mark.parametrize("scope", ["clip", "batch"])
    def test_scope_is_that_asked_for(self, scope):
        net = load_released(small_state(), token_ids=small_ids(), scope=scope)
        adapters = [module for module in net.modules() if isinstance(module, TemporalDynamicAdapter)]
        assert [adapter.scope for adapter in adapters] == [scope] * 3

    def test_names_of_trainable_tensors_are_those_of_the_released_layout(self, small):
        names = {released_name(name) for name in trainable(small)}
        owned = ("prompt_learner.", "adapter_")
        assert names == {name for name in GOLDEN["param_shapes"] if any(part in name for part in owned)}


def test_plain_data_may_be_built_twice(small):
    trained = read_released(small_state(), token_ids=small_ids())
    first, second = PEClip.from_trained(trained), PEClip.from_trained(trained)
    assert torch.equal(logits(first), logits(small))
    assert torch.equal(logits(second), logits(small))
    assert first.clip is not second.clip


class TestClassTexts:
    @pytest.fixture
    def tokenizer(self, tiny_clip, monkeypatch):
        """Give the loader the tiny tokenizer (190 tokens) in place of CLIP's own."""
        asked = []

        def load(name):
            asked.append(name)
            return load_tokenizer(str(tiny_clip))

        monkeypatch.setattr(released, "load_tokenizer", load)
        return asked

    def test_are_found_again_from_the_embedded_prompts(self, small):
        net = load_released(as_saved(small_state()))
        assert torch.equal(net.token_ids[:, 3:], small.token_ids[:, 3:])
        assert torch.equal(net.token_ids[:, 0], small.token_ids[:, 0])
        assert torch.equal(net.text_ends, small.text_ends)

    def test_golden_ids_are_found_again_among_49408_tokens(self, released_state):
        found = load_released(as_saved(released_state, IDS)).token_ids
        length = int(IDS.argmax(dim=1).max()) + 1
        assert torch.equal(found[:, 3:], IDS[:, 3:length])
        assert torch.equal(found[:, :1], IDS[:, :1])

    def test_that_are_not_of_the_token_embedding_are_refused(self):
        state = as_saved(small_state())
        state["module.prompt_learner.token_suffix"] = state["module.prompt_learner.token_suffix"] + 0.5
        with pytest.raises(InputError, match="do not come from its token embedding: pass token_ids or texts"):
            load_released(state)

    def test_may_be_given_as_texts(self, tokenizer):
        net = load_released(small_state(), texts=["ab", "c"])
        start, end, placeholder = 188, 189, 94 + ord("x") - 33
        ab, c = (ord("a") - 33, 94 + ord("b") - 33), 94 + ord("c") - 33
        expected = [[start, placeholder, placeholder, *ab, end], [start, placeholder, placeholder, c, end, end]]
        assert net.token_ids.tolist() == expected
        assert net.text_ends.tolist() == [5, 4]
        assert tokenizer == ["openai/clip-vit-base-patch16"]
        assert logits(net).shape == (2, 2)

    def test_texts_win_over_embedded_prompts_and_token_ids_over_texts(self, small, tokenizer):
        state = as_saved(small_state())
        assert load_released(state, texts=["ab", "c"]).token_ids.shape == (2, 6)
        net = load_released(state, token_ids=small_ids(), texts=["ab", "c"])
        assert torch.equal(net.token_ids, small.token_ids)
        assert len(tokenizer) == 1, "with token ids no tokenizer is needed"

    def test_texts_without_a_tokenizer_here_tell_how_to_get_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(released, "HUB", {(768, 12, 16, 224): "someone/not-here"})
        with pytest.raises(InputError, match="hf download someone/not-here") as caught:
            load_released(small_state(), texts=["ab"])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("ids", [small_ids()[0], small_ids().float(), small_ids() + 1, small_ids().repeat(1, 2)])
    def test_token_ids_that_do_not_fit_are_refused(self, ids):
        with pytest.raises(InputError, match="token_ids"):
            load_released(small_state(), token_ids=ids)


class Recorder:
    """Stands for the class of its own that the released program pickles beside the weights."""

    def __init__(self):
        import numpy as np

        self.epoch_accuracy = np.zeros((25, 2))


class TestFiles:
    def test_a_file_with_a_foreign_object_gives_the_same_model(self, small, tmp_path):
        path = tmp_path / "model.pth"
        saved = {
            "epoch": 3,
            "state_dict": as_saved(small_state()),
            "best_acc": torch.tensor(7.4),
            "recorder": Recorder(),
        }
        torch.save(saved, path)
        assert torch.equal(logits(load_released(path)), logits(small))
        assert torch.equal(logits(load_released(str(path), token_ids=small_ids())), logits(small))

    def test_any_missing_tensor_is_named(self):
        for name in ONE_OF_EACH:
            state = small_state()
            del state[name]
            with pytest.raises(InputError) as caught:
                load_released(state, token_ids=small_ids())
            message = str(caught.value)
            assert message.startswith("the state dict is not a released PE-CLIP checkpoint: it has no tensor")
            assert repr(name) in message

    def test_missing_class_texts_are_named(self):
        with pytest.raises(InputError, match=r"no tensor 'prompt_learner.token_prefix'"):
            load_released(small_state())

    @pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
    @pytest.mark.parametrize("first", [0, *(pytest.param(number, marks=pytest.mark.stress) for number in (1, 2))])
    def test_any_tensor_of_another_shape_is_refused_in_one_line(self, first):
        """Three shapes in turn."""
        for number, name in enumerate(ONE_OF_EACH):
            shape = ((), (3,), (3, 0))[(first + number) % 3]
            if list(shape) == GOLDEN["param_shapes"][name]:
                continue
            with pytest.raises(InputError) as caught:
                load_released(small_state() | {name: torch.zeros(shape)}, token_ids=small_ids())
            assert "\n" not in str(caught.value)

    def test_another_file_is_refused_by_name(self, tmp_path):
        path = tmp_path / "other.pth"
        torch.save({"state_dict": {"fc.weight": torch.ones(2, 2)}}, path)
        with pytest.raises(InputError, match=r"other.pth is not a released PE-CLIP checkpoint: it has no tensor"):
            load_released(path)
