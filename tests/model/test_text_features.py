from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.model import MaPLe, PEClip, Prompts
from peclip.model.arithmetic import clip_flops
from tests.model.small import LABELS, build, clips, logits, stir, train_step, trainable


class TestTextFeatures:
    @pytest.fixture
    def runs(self, net):
        """One entry for each time that the text tower ran."""
        calls: list = []
        net.clip.text_model.register_forward_hook(lambda *call: calls.append(1))
        return calls

    def fresh(self, net):
        """The text features as a model without memory gives them."""
        with torch.enable_grad():
            return net.encode_text().detach()

    def check(self, net, runs):
        """One more run of the text tower serves all following batches and gives what a fresh run gives."""
        runs.clear()
        for seed in range(3):
            logits(net, clips(seed=seed))
        assert len(runs) == 1
        with torch.no_grad():
            assert torch.equal(net.encode_text(), self.fresh(net))

    def test_are_computed_once_per_evaluation(self, net, runs):
        self.check(net, runs)
        with torch.inference_mode():
            net(clips())
        logits(net)
        assert len(runs) <= 3, "again at most once in inference mode"

    def test_are_computed_in_every_training_step(self, net, runs):
        for _ in range(3):
            train_step(net)
        assert len(runs) == 3

    def test_are_computed_in_every_pass_in_which_the_text_tower_itself_learns(self, tiny_clip):
        net = build(tiny_clip, adapters={}, prompts=None)
        logits(net)
        net.clip.text_projection.weight.requires_grad_(True)
        net(clips()).sum().backward()
        assert net.clip.text_projection.weight.grad.abs().max() > 0

    @pytest.mark.parametrize("site", ["text_model", "vision_model"])
    def test_depend_on_layers_of_peft_in_their_own_tower_alone(self, tiny_clip, site):
        peft = pytest.importorskip("peft")
        layers = peft.LoraConfig(r=2, target_modules=f".*{site}.*q_proj")
        net = stir(build(tiny_clip, adapters={}, prompts=None, peft=layers))
        logits(net)
        assert net.encode_text().requires_grad == (site == "text_model")

    @pytest.mark.parametrize("kind", ["foreach", "fused"])
    def test_are_computed_again_after_an_optimizer_step_in_evaluation_mode(self, net, runs, kind):
        logits(net)
        optimizer = torch.optim.AdamW(trainable(net).values(), lr=0.1, **{kind: True})
        net(clips()).sum().backward()
        optimizer.step()
        self.check(net, runs)

    def test_are_computed_again_after_load_trainable(self, net, runs):
        logits(net)
        net.load_trainable({name: value + 1 for name, value in net.trainable_state().items()}, "other weights")
        self.check(net, runs)

    @pytest.mark.parametrize("assign", [False, True])
    def test_are_computed_again_after_load_state_dict(self, net, runs, assign):
        logits(net)
        net.load_state_dict({name: value * 0.5 for name, value in net.state_dict().items()}, assign=assign)
        self.check(net, runs)

    def test_are_computed_again_after_the_projection_changed(self, net, runs):
        logits(net)
        net.clip.text_projection.load_state_dict({"weight": torch.randn(24, 32)})
        self.check(net, runs)

    @pytest.mark.parametrize("mode", ["train", "eval"])
    def test_are_computed_again_after_a_write_that_is_not_counted_and_a_change_of_mode(self, net, runs, mode):
        logits(net)
        for weight in trainable(net).values():
            weight.data.mul_(0.5)  # as moving averages of weights often do
        getattr(net, mode)()
        self.check(net, runs)

    def test_follow_weights_that_were_made_in_inference_mode(self, tiny_clip, net):
        with torch.inference_mode():
            other = build(tiny_clip).eval()
            before = other(clips())
            other.load_trained(net.to_trained())
            assert torch.equal(other(clips()), net(clips()))
            assert not torch.equal(other(clips()), before)

    def test_follow_the_model_into_another_precision_and_back(self, net, runs):
        logits(net)
        plain = net.encode_text()
        net.to(torch.bfloat16)
        with torch.no_grad():
            assert not torch.equal(net.encode_text(), plain)
        net.to(torch.float32)
        self.check(net, runs)

    def test_are_kept_apart_under_autocast(self, net):
        plain = logits(net)
        with torch.autocast("cpu", torch.bfloat16):
            assert (logits(net) - plain).abs().max() > 0
        assert torch.equal(logits(net), plain)

    def test_are_kept_apart_within_and_outside_bare(self, net, runs):
        outside = logits(net)
        for _ in range(2):
            with net.bare():
                inside = logits(net)
            assert torch.equal(logits(net), outside)
            assert not torch.equal(inside, outside)
        assert len(runs) == 2

    @pytest.mark.parametrize("prompts", [None, MaPLe])
    def test_text_cut_at_the_longest_end_is_exact(self, tiny_clip, prompts):
        net = stir(build(tiny_clip, prompts=prompts))
        assert net.token_ids.shape[1] == net.text_ends.max() + 1 < net.backbone.context
        uncut = F.pad(net.token_ids, (0, net.backbone.context - net.token_ids.shape[1]))
        with torch.no_grad():
            cut = net.encode_text()
            net.token_ids = uncut
            assert (self.fresh(net) - cut).abs().max() < 1e-6

    def test_the_features_of_a_text_do_not_depend_on_other_texts(self, tiny_clip):
        three = build(tiny_clip, prompts=None).encode_text()
        two = build(tiny_clip, prompts=None, labels=LABELS[::2]).encode_text()
        assert (two - three[::2]).abs().max() < 1e-6

    def test_placeholders_stand_between_the_start_token_and_the_text(self, tiny_clip, whole):
        plain = build(tiny_clip, prompts=None)
        assert torch.equal(whole.token_ids[:, :1], plain.token_ids[:, :1])
        assert torch.equal(whole.token_ids[:, 3:], plain.token_ids[:, 1:])
        assert torch.equal(whole.text_ends, plain.text_ends + 2)

    def test_texts_may_be_given_by_label_in_any_order(self, tiny_clip):
        texts = {"b": "two", "a": "one", "unused": "three"}
        net = build(tiny_clip, labels=("a", "b"), texts=texts)
        assert net.config.texts == {"a": "one", "b": "two"}
        assert torch.equal(net.encode_text(), build(tiny_clip, labels=("one", "two"), texts="names").encode_text())


class TestTexts:
    def test_features_of_any_texts_are_those_of_a_model_with_these_classes(self, tiny_clip, whole):
        texts = {label: f"a video of {label}" for label in LABELS}
        other = stir(build(tiny_clip, texts=texts)).eval()
        with torch.no_grad():
            expected = other.encode_text()
            assert torch.allclose(whole.encode_text([*texts.values()]), expected, atol=1e-6)
            one = whole.encode_text(["a video of sadness", "a video of sadness"])
            assert torch.allclose(one, expected[[1, 1]], atol=1e-6)
            with whole.bare(), other.bare():
                assert torch.allclose(whole.encode_text([*texts.values()]), other.encode_text(), atol=1e-6)

    def test_a_gradient_reaches_the_text_adapters(self, net):
        net.encode_text(["a smile"]).square().sum().backward()
        assert all(weight.grad is not None for weight in net.adapters["text"].parameters())

    def test_texts_may_be_in_an_array_or_come_one_by_one(self, whole):
        with torch.no_grad():
            expected = whole.encode_text(["a", "b"])
            assert torch.equal(whole.encode_text(np.array(["a", "b"])), expected)
            assert torch.equal(whole.encode_text(text for text in ("a", "b")), expected)

    @pytest.mark.parametrize(
        ("texts", "says"),
        [
            ("a smile", "texts is 'a smile', expected one text or more in a list"),
            ([], r"texts is \[\], expected one text or more in a list"),
            ([""], "texts has an empty text for 'text 0'"),
            (["a", ["b", "  "]], "texts has an empty text for 'text 1'"),
            (["a", []], "texts has an empty list for 'text 1'"),
            ([["b", "b"]], "texts has 'b' twice for 'text 0'"),
            (["a", 3], "texts has 3 for 'text 1', expected a text in quotes or a list of texts"),
            ([["a", None]], "texts has None for 'text 0', expected a text in quotes"),
            (["\ud800a"], "texts has half a character in the text for 'text 0'"),
            (b"a smile", "texts is b'a smile', expected one text or more in a list"),
            ({"a smile"}, "texts is {'a smile'}, expected one text or more in a list"),
            (frozenset({"a smile"}), r"texts is frozenset\({'a smile'}\), expected one text or more in a list"),
            ({"a": "a smile"}, "texts is {'a': 'a smile'}, expected one text or more in a list"),
            (3, "texts is 3, expected one text or more in a list"),
            (torch.ones(2, 3), r"texts has tensor\(.* for 'text 0', expected a text in quotes"),
            (["a", "b" * 200], "has 204 tokens with its prompts, .* accepts at most 160"),
        ],
    )
    def test_what_is_no_text_is_refused(self, whole, texts, says):
        with pytest.raises(InputError, match=says):
            whole.encode_text(texts)


def test_ready_made_token_ids_give_the_same_model_as_texts(tiny_clip, whole):
    from peclip.model.backbones.load import load_backbone

    padded = F.pad(whole.token_ids, (0, 30))
    net = stir(PEClip.assemble(load_backbone(str(tiny_clip)), padded, LABELS))
    assert net.token_ids.shape == whole.token_ids.shape
    assert torch.equal(logits(net), logits(whole))


class Computed(Prompts):
    """Its tokens of the text tower are computed, so they have a history."""

    def __init__(self, text_width: int, vision_width: int, blocks: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(2, text_width))
        self.project, self.vision_width = nn.Linear(text_width, text_width), vision_width
        self.length, self.depth = 2, 1

    def text(self) -> list[Tensor]:
        return [self.project(self.tokens)]

    def vision(self) -> list[Tensor]:
        return [self.tokens.new_zeros(2, self.vision_width)]


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_no_history_of_a_pass_that_failed_is_left_in_the_model(tiny_clip, tower):
    def fail(*call):
        raise RuntimeError("boom")

    net = build(tiny_clip, prompts=Computed)
    net.backbone.towers[tower].entrance.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="boom"):
        net(clips())
    assert net._flows[tower].prompts == ()


def test_no_history_of_a_pass_is_left_in_the_model(tiny_clip):
    net = build(tiny_clip, prompts=Computed)
    train_step(net)
    deepcopy(net)
    assert clip_flops(net)
