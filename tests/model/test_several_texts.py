"""Several texts per class: their normalised features are averaged, wherever the texts of a class are used."""

import json

import pytest
import torch
from torch.nn import functional as F

import peclip.model.network
from peclip.class_texts import class_texts
from peclip.errors import InputError
from peclip.inference.explain.texts import fitting_texts
from peclip.inference.trained import load_model
from peclip.model import CoOp, PEClip, read_trained
from peclip.model.io.checkpoint import from_checkpoint, to_checkpoint
from tests.model.small import LABELS, build, clips, logits, stir, trainable

TEXTS = {"happiness": ["a smile", "happy", "joy"], "sadness": "a tear", "surprise": ["oh", "a gasp, wide eyes"]}


@pytest.mark.parametrize("prompts", [{}, {"prompts": CoOp}, {"prompts": None, "adapters": {}}])
def test_the_feature_of_a_class_is_the_mean_of_those_of_its_texts(tiny_clip, prompts):
    net = stir(build(tiny_clip, texts=TEXTS, **prompts)).eval()
    with torch.no_grad():
        single = {
            text: net.encode_text([text])[0]
            for each in TEXTS.values()
            for text in (each if isinstance(each, list) else [each])
        }
        expected = torch.stack(
            [
                torch.stack([single[t] for t in (each if isinstance(each, list) else [each])]).mean(0)
                for each in TEXTS.values()
            ]
        )
        expected = F.normalize(expected, dim=-1)
        assert torch.allclose(net.encode_text(), expected, atol=1e-5)
        assert torch.allclose(net.encode_text([*TEXTS.values()]), expected, atol=1e-5)
        assert torch.allclose(net(clips()), net.logit_scale * net.encode_video(clips()) @ expected.T, atol=1e-3)


def test_every_text_has_a_gradient_and_one_text_in_a_list_is_that_text(tiny_clip):
    net = stir(build(tiny_clip, texts=TEXTS))
    net(clips()).square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in trainable(net).values())
    alone, listed = (
        build(tiny_clip, texts=dict.fromkeys(LABELS, None) | texts)
        for texts in ({label: f"a {label}" for label in LABELS}, {label: [f"a {label}"] for label in LABELS})
    )
    assert alone.config == listed.config
    assert torch.equal(logits(alone), logits(listed))


def test_packages_checkpoints_and_cards_bring_them_back(tiny_clip, tmp_path):
    net = stir(build(tiny_clip, texts=TEXTS)).eval()
    net.save_pretrained(tmp_path / "package")
    again = PEClip.from_pretrained(tmp_path / "package")
    assert torch.equal(logits(again), logits(net))
    assert again.config.texts == {
        "happiness": ("a smile", "happy", "joy"),
        "sadness": "a tear",
        "surprise": ("oh", "a gasp, wide eyes"),
    }
    assert "a smile; happy; joy" in (tmp_path / "package/README.md").read_text()
    content = to_checkpoint(net.to_trained())
    assert torch.equal(logits(PEClip.from_trained(from_checkpoint(content, "it"))), logits(net))
    build(tiny_clip, texts=TEXTS).load_trained(net.to_trained())
    with pytest.raises(InputError, match=r"texts has .* for 'happiness', but this model was trained with another"):
        build(tiny_clip, texts=TEXTS | {"happiness": ["a smile", "joy"]}).load_trained(net.to_trained())
    file = tmp_path / "package/config.json"
    config = json.loads(file.read_text())
    for wrong in ([], [""], [3], {"a": "b"}, ["a smile", "a smile"]):
        file.write_text(json.dumps(config | {"texts": TEXTS | {"happiness": wrong}}))
        with pytest.raises(InputError, match="texts"):
            read_trained(tmp_path / "package")


def test_texts_are_encoded_in_pieces_where_they_are_many(tiny_clip, monkeypatch):
    net = stir(build(tiny_clip, texts=TEXTS)).eval()
    with torch.no_grad():
        before = net._encode_text()
        monkeypatch.setattr(peclip.model.network, "AT_ONCE", 4)
        assert torch.allclose(net._encode_text(), before, atol=1e-6)


def test_an_explanation_ranks_the_texts_of_a_class_by_what_each_adds(tiny_clip):
    net = stir(build(tiny_clip, texts=TEXTS)).eval()
    with torch.inference_mode():
        feature, found = net.encode_video(clips(1))[0], net(clips(1))[0]
        without = net.logit_scale * net.encode_text([["happy", "joy"]])[0] @ feature
    texts = {text.label: text for text in fitting_texts(net, feature, found)}
    worth = {unit.name: unit.worth for unit in texts["happiness"].units}
    assert worth.keys() == {"a smile", "happy", "joy"}
    assert worth["a smile"] == pytest.approx((found[0] - without).item(), abs=1e-3)
    assert texts["happiness"].text == "a smile; happy; joy"
    assert texts["sadness"].units == ()


def test_zero_shot_reads_lists_from_the_file_of_texts(tiny_clip, tmp_path):
    file = tmp_path / "texts.yaml"
    file.write_text("happy: [a smile, joy]\nsadness: a tear\n")
    net = load_model("zero-shot", str(tiny_clip), texts=str(file))
    assert net.config.texts == {"happiness": ("a smile", "joy"), "sadness": "a tear"}
    for wrong, says in (
        ("happy: []\nno: x", "an empty list for 'happy'"),
        ("happy: 3\nno: x", "has 3 for 'happy', expected a text"),
        ("happy: [a, 3]\nno: x", "has 3 for 'happy'"),
        ("happy: [a, a]\nno: x", "has 'a' twice for 'happy'"),
    ):
        file.write_text(wrong)
        with pytest.raises(InputError, match=says):
            load_model("zero-shot", str(tiny_clip), texts=str(file))


def test_several_templates_and_styles():
    assert class_texts(["happiness", "fear"], ["names", "a photo of {label}"]) == [
        ("happiness", "a photo of happiness"),
        ("fear", "a photo of fear"),
    ]
    assert class_texts(["fear"], ["a photo of {label}"]) == ["a photo of fear"]
    for wrong, says in (
        (["{label}", "a photo"], "texts is 'a photo', expected action_units, names, sentences, a template with"),
        ([], "an empty list"),
        (["{label}", "names"], "has 'fear' twice for 'fear'"),
        ([3], "has 3 for a list"),
    ):
        with pytest.raises(InputError, match=says):
            class_texts(["fear", "anger"], wrong)
    with pytest.raises(InputError, match="same text for 'anger' and 'fear'"):
        class_texts(["anger", "fear"], {"anger": ["a", "b"], "fear": ["b ", "a"]})
    assert class_texts(["anger", "fear"], {"anger": ["a", "b"], "fear": ["a", "c"]}) == [("a", "b"), ("a", "c")]
