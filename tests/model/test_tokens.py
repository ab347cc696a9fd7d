"""Class texts and tokens: what the model could not distinguish, or does not know, is refused before anything is trained."""

import json
import shutil

import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from peclip.errors import InputError
from peclip.model.backbones.load import load_backbone
from tests.model.small import build


@pytest.fixture
def copy(tiny_clip, tmp_path):
    """A copy of the tiny CLIP, which a test may change."""
    return shutil.copytree(tiny_clip, tmp_path / "clip")


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (("Bored", "x", "bored"), "names"),
        (("Bored", "x", "bored"), "sentences"),
        (("a", "x", "b"), {"a": "Jaw Drop.", "x": "y", "b": "jaw drop."}),
        (("a", "x", "b"), {"a": "jaw drop", "x": "y", "b": "jaw   drop"}),
        (("a", "x", "b"), {"a": "jaw drop", "x": "y", "b": "jaw\ndrop\n"}),
        (("a", "x", "b"), {"a": "jaw drop", "x": "y", "b": "jaw\u00a0drop"}),
    ],
)
def test_labels_whose_texts_are_the_same_tokens_are_both_named(tiny_clip, labels, texts):
    message = f"texts has the same tokens for '{labels[0]}' and '{labels[2]}', which no model could distinguish"
    with pytest.raises(InputError, match=message):
        build(tiny_clip, labels, texts=texts)


def test_the_prompts_do_not_distinguish_texts(tiny_clip):
    for prompts in (None, {"prompts": None}):
        with pytest.raises(InputError, match="the same tokens"):
            build(tiny_clip, ("A", "a"), texts="names", **(prompts or {}))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_token_for_which_the_text_tower_has_no_row_is_named_with_its_text(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<face>", "<au>"])
    tokenizer.save_pretrained(copy)
    message = (
        r"the text for 'b' has the token '<face>' \(190\), but the text tower of .* knows 190 tokens, from 0: remove it"
    )
    with pytest.raises(InputError, match=message):
        build(copy, ("a", "b"), texts={"a": "smile", "b": "a <face> smile"})
    build(copy, ("a", "b"), texts={"a": "smile", "b": "frown"})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_start_token_for_which_the_text_tower_has_no_row_is_refused(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<face>"])
    tokenizer.save_pretrained(copy)
    parts = json.loads((copy / "tokenizer.json").read_text())
    text = json.dumps(parts["post_processor"])
    start = tokenizer.bos_token
    parts["post_processor"] = json.loads(text.replace(start, "<face>").replace(f" {tokenizer.bos_token_id}]", " 190]"))
    (copy / "tokenizer.json").write_text(json.dumps(parts))
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": "<face>"}))
    with pytest.raises(InputError, match="gives a text the token 190, but its text tower knows 190 tokens, from 0"):
        build(copy, ("a", "b"), texts="names")


def change_config(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= entries
    (folder / "config.json").write_text(json.dumps(config))


def test_a_tokenizer_with_another_end_token_than_the_text_tower_is_refused(copy):
    change_config(copy, eos_token_id=57)
    with pytest.raises(
        InputError, match="has a tokenizer that ends a text with the token 189, but its text tower expects 57"
    ):
        load_backbone(str(copy))
    change_config(copy, eos_token_id=2)  # of a tower that was converted early
    load_backbone(str(copy))


def test_a_tokenizer_of_another_kind_is_refused(copy):
    for path in copy.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    words = Tokenizer(models.WordLevel({"X": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(copy)
    with pytest.raises(
        InputError, match="does not put a text between a start and an end token, as that of a CLIP does"
    ):
        load_backbone(str(copy))


def test_a_text_that_is_too_long_is_named_with_its_length(tiny_clip):
    with pytest.raises(InputError, match=r"has 203 tokens with its prompts, '.*' accepts at most 160") as caught:
        build(tiny_clip, ("a", "b"), texts={"a": "x", "b": "y" * 199})
    assert len(str(caught.value)) < 300 + len(str(tiny_clip))
