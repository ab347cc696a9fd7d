"""Class texts, ranked, and what each of their parts is worth."""

import pytest
import torch

from peclip.class_texts import ACTION_UNITS
from peclip.inference.explain.texts import fitting_texts, units_of, without
from peclip.labels import SEVEN
from peclip.model import PEClip


@pytest.fixture(scope="module")
def net(tiny_clip):
    return PEClip(SEVEN, str(tiny_clip), num_frames=3).eval()


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Cheek Raiser, Lip Corner Puller.", ["Cheek Raiser", "Lip Corner Puller"]),
        ("a smile", ["a smile"]),
        ("one; two, , three", ["one", "two", "three"]),
        ("眉毛下垂、嘴唇紧闭", ["眉毛下垂", "嘴唇紧闭"]),
    ],
)
def test_the_parts_of_a_text(text, units):
    assert units_of(text) == units


def test_a_text_without_a_part_keeps_its_form():
    assert without("Cheek Raiser, Jaw Drop, Lip Stretcher.", 1) == "Cheek Raiser, Lip Stretcher."
    assert without("Cheek Raiser, Jaw Drop", 0) == "Jaw Drop"


def test_a_part_is_worth_what_the_logit_loses_without_it(net):
    video = torch.randn(1, 3, 3, 32, 32)
    with torch.inference_mode():
        feature, logits = net.encode_video(video)[0], net(video)[0]
        shorter = net.encode_text(["Cheek Raiser."])[0] @ feature * net.logit_scale
    texts = fitting_texts(net, feature, logits)
    assert [text.label for text in texts] == [net.labels[place] for place in logits.argsort(descending=True)]
    happiness = next(text for text in texts if text.label == "happiness")
    assert happiness.text == ACTION_UNITS["happiness"]
    assert happiness.probability == pytest.approx(logits.softmax(0)[0].item())
    worth = {unit.name: unit.worth for unit in happiness.units}
    assert worth["Lip Corner Puller"] == pytest.approx((logits[0] - shorter).item(), abs=1e-3)
    assert all(
        [unit.worth for unit in text.units] == sorted((unit.worth for unit in text.units), reverse=True)
        for text in texts
    )
    assert sum(len(text.units) for text in texts) == sum(len(units_of(ACTION_UNITS[label])) for label in SEVEN)


def test_texts_of_one_part_are_ranked_without_it(tiny_clip):
    net = PEClip(["yes", "no"], str(tiny_clip), adapters={}, prompts=None, texts="names").eval()
    feature = torch.nn.functional.normalize(torch.randn(24), dim=0)
    assert [text.units for text in fitting_texts(net, feature, torch.tensor([1.0, 2.0]))] == [(), ()]
