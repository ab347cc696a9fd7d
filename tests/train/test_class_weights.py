"""Class weights: which they are, what is refused, and that the loss is the same however clips are divided, mixed and softened."""

import numpy as np
import pytest
import torch
from torch import nn

from peclip.data.batch import NO_INDEX
from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.train.class_weights import class_weights, loss_of, weighted
from peclip.train.losses import CROSS_ENTROPY, check_takes, total_loss

LABELS = ("happiness", "sadness", "anger")
COUNTS = {"happiness": 6, "sadness": 3, "anger": 1}


def module(folder, **options):
    rows = [f"{label}{number}.mp4,{label}" for label, count in COUNTS.items() for number in range(count)]
    soft = [f"{row},0.5,0.25,0.25" for row in rows]
    (folder / "clips.csv").write_text("\n".join(["path,label,p_happy,p_sad,p_angry", *soft]))
    return VideoDataModule(str(folder / "clips.csv"), num_workers=0, val=0, **options)


def test_balanced_weights_are_one_on_average_over_the_clips(tmp_path):
    found = class_weights("balanced", LABELS, module(tmp_path))
    assert np.allclose(found, [10 / 18, 10 / 9, 10 / 3])
    assert np.isclose(sum(count * weight for count, weight in zip(COUNTS.values(), found, strict=True)), 10)
    assert class_weights("balanced", LABELS, module(tmp_path, shots=1)) == (1.0, 1.0, 1.0)
    assert np.allclose(class_weights("balanced", LABELS, module(tmp_path, soft_labels=True)), [2 / 3, 4 / 3, 4 / 3])


def test_numbers_are_used_in_the_order_of_the_labels_or_by_any_spelling(tmp_path):
    assert class_weights([1, 2, 3], LABELS, None) == (1.0, 2.0, 3.0)
    assert class_weights({"angry": 3, "Happy": 1, "sadness": 2.0}, LABELS, None) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"happy": 1, "sad": 1, "bored": 1}, "names 'bored', which is none of the labels"),
        ({"happy": 1, "sad": 1}, "lacks 'anger'"),
        ({"happy": 1, "happiness": 1, "sad": 1, "angry": 1}, "names 'happiness' twice"),
        ([1, 2], "has 2 numbers, expected one for each of"),
        ([1, -1, 1], "of sadness is -1, expected a number of at least 0"),
        ([1, float("nan"), 1], "of sadness is nan"),
        ([1, 1, 1e40], "of anger is 1e\\+40, expected a number of at least 0 and at most 1e\\+38"),
        ([0, 0, 0], "are all 0"),
        ([1e-50, 1e-50, 0], "are all 0"),
        ("balanced", "counts the clips of a VideoDataModule"),
    ],
)
def test_other_weights_are_refused(asked, says):
    with pytest.raises(InputError, match=says):
        class_weights(asked, LABELS, None)


def test_small_classes_are_made_up_for_once(tmp_path):
    with pytest.raises(InputError, match=r"both make up for small classes"):
        class_weights("balanced", LABELS, module(tmp_path, balanced=True))


@pytest.mark.parametrize("loss", [nn.MultiMarginLoss(), nn.CrossEntropyLoss(torch.ones(3))])
def test_another_loss_has_its_own_weights(loss):
    with pytest.raises(InputError, match=r"class_weights"):
        weighted(loss, (1.0, 2.0, 3.0))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_cross_entropy_however_clips_are_divided(soft, smoothing):
    """By hand: the sum over classes of weight times smoothed probability times -log p, for both labels of a mixed clip."""
    rng = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(6, 3, generator=rng), torch.tensor([0.5, 1.0, 2.5])
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    targets = torch.rand(6, 3, generator=rng).softmax(dim=1) if soft else None
    loss = weighted(nn.CrossEntropyLoss(label_smoothing=smoothing), weights.tolist())
    wanted = (torch.eye(3)[labels] if targets is None else targets) * (1 - smoothing) + smoothing / 3
    by_hand = -(weights * wanted * logits.log_softmax(dim=1)).sum()
    whole = total_loss(loss, logits, labels, targets)
    assert torch.allclose(whole, by_hand, atol=1e-5)
    pieces = [slice(0, 1), slice(1, 4), slice(4, 6)]
    divided = [total_loss(loss, logits[p], labels[p], None if targets is None else targets[p]) for p in pieces]
    assert torch.allclose(sum(divided), whole, atol=1e-5)


@pytest.mark.parametrize(
    "loss", [CROSS_ENTROPY, nn.CrossEntropyLoss(label_smoothing=0.1), weighted(CROSS_ENTROPY, [1, 2, 3])]
)
def test_a_dummy_clip_counts_for_nothing(loss):
    logits = torch.randn(1, 3, requires_grad=True)
    total_loss(loss, logits, torch.tensor([NO_INDEX]), torch.zeros(1, 3)).backward()
    assert not logits.grad.any()


def test_one_class_for_sure_is_its_label():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    hard = total_loss(CROSS_ENTROPY, logits, labels)
    assert torch.allclose(hard, total_loss(CROSS_ENTROPY, logits, labels, torch.eye(3)[labels]))


def test_a_loss_that_takes_labels_alone_is_refused():
    with pytest.raises(InputError, match=r"loss MultiMarginLoss does not accept the probabilities of classes"):
        check_takes(nn.MultiMarginLoss(), 3, soft_labels=True)
    for loss in (CROSS_ENTROPY, nn.BCEWithLogitsLoss(), weighted(CROSS_ENTROPY, [1, 2, 3])):
        check_takes(loss, 3, soft_labels=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ignore_index": 2}, "ignore_index 2, which is a class: none of its clips would count"),
        ({"label_smoothing": -0.1}, "label_smoothing -0.1, expected from 0 to below 1"),
        ({"label_smoothing": 2.0}, "label_smoothing 2.0, expected from 0 to below 1"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0, expected from 0 to below 1"),
    ],
)
def test_arguments_with_which_a_class_would_not_be_learned_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        check_takes(nn.CrossEntropyLoss(**arguments), 3, soft_labels=False)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.Identity()])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_loss_of_torch_that_takes_no_labels_is_refused_before_the_first_batch(loss, classes):
    with pytest.raises(
        InputError, match=rf"^loss {type(loss).__name__} does not accept logits \(B, C\) and labels \(B,\): "
    ):
        loss_of(loss, None, [*"abc"][:classes], None)


@pytest.mark.parametrize(("loss", "soft_labels"), [(nn.NLLLoss(), False), (nn.KLDivLoss(), True), (nn.BCELoss(), True)])
def test_a_loss_of_log_probabilities_or_probabilities_takes_no_logits(loss, soft_labels):
    with pytest.raises(InputError, match=r"log-probabilities|between 0 and 1"):
        check_takes(loss, 3, soft_labels)


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, nn.CrossEntropyLoss(), nn.MultiMarginLoss(reduction="none")])
def test_a_loss_of_torch_for_classes_is_taken(loss):
    assert loss_of(loss, None, [*"abc"], None) is loss


class Counting(nn.Module):
    """A loss of one's own, which counts its calls, and is negative."""

    calls = 0

    def forward(self, logits, labels):
        self.calls += 1
        return -nn.functional.nll_loss(logits.log_softmax(1), labels, reduction="none")


class Alone(nn.Module):
    def forward(self, logits):
        return logits.mean()


class Detached(nn.Module):
    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits.detach(), labels)


class Scores(nn.Module):
    def forward(self, logits, labels):
        return logits.softmax(1)


class Asserting(nn.Module):
    def forward(self, logits, labels):
        raise AssertionError


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (Alone(), r"forward\(\) takes 2 positional arguments but 3 were given"),
        (Detached(), "no gradient flows from its value to the logits"),
        (Scores(), r"it returns \(4, 3\)"),
        (Asserting(), "AssertionError"),
    ],
)
def test_a_loss_of_ones_own_is_tried_before_the_first_batch(loss, says):
    with pytest.raises(InputError, match=rf"^loss {type(loss).__name__} does not accept logits .*: .*{says}$"):
        loss_of(loss, None, LABELS, None)


def test_a_loss_of_ones_own_is_tried_as_a_copy():
    loss = Counting()
    assert loss_of(loss, None, LABELS, None) is loss
    assert loss.calls == 0


def test_a_loss_for_a_training_step_of_ones_own_is_not_tried():
    loss = Alone()
    assert loss_of(loss, None, LABELS, None, tried=False) is loss
