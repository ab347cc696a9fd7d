"""Tokenizers of backbones: what is missing or of another kind is named, and ids are those of the original."""

import shutil

import pytest
import torch
from transformers import AutoTokenizer, SiglipModel

from peclip.class_texts import class_texts
from peclip.errors import InputError
from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.backbones.load import load_backbone
from tests.lacking import needs
from tests.model.backbones.families import write_letters
from tests.model.backbones.spoilt import refusal
from tests.model.small import build


def test_a_file_without_a_tokenizer_needs_that_of_clip(copy, tmp_path):
    shutil.copy(copy("file") / "farl.pth", tmp_path / "farl.pth")
    message = refusal_of_tokenizer(tmp_path / "farl.pth")
    assert "hf download openai/clip-vit-base-patch16" in message
    assert str(tmp_path) in message


def refusal_of_tokenizer(path):
    with pytest.raises(InputError) as caught:
        load_backbone(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_a_start_token(folder):
    write_letters(folder, start="<s>", end="</s>", fill="</s>")


def without_padding(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "spoil", "says"),
    [
        ("siglip", with_a_start_token, "a tokenizer that puts a start token before a text, which no SigLIP"),
        ("siglip", without_padding, "a tokenizer without a token to fill up texts, which a SigLIP needs"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(copy, kind, spoil, says):
    folder = copy(kind)
    spoil(folder)
    assert says in refusal(folder)


def test_the_tokenizer_of_the_first_siglip_needs_its_package(copy, monkeypatch):
    def lacking(*args, **options):
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    folder = copy("siglip")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lacking)
    assert "its tokenizer needs sentencepiece: pip install 'peclip[siglip]'" in refusal(folder)


def test_the_tokenizer_of_the_first_siglip_gives_the_features_of_hugging_face(copy, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece", reason=needs("sentencepiece"))
    folder = copy("siglip")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("\n".join(text.lower() for text in class_texts(SEVEN)))
    special = {"unk_id": 0, "eos_id": 1, "pad_id": -1, "bos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), model_prefix=str(folder / "spiece"), vocab_size=45, minloglevel=2, **special
    )
    from transformers import SiglipTokenizer

    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=160)
    tokenizer.save_pretrained(folder)
    texts = class_texts(SEVEN)
    ids = tokenizer(texts, padding="max_length", max_length=160, return_tensors="pt").input_ids
    net = PEClip(SEVEN, str(folder), adapters={}, prompts=None)
    with torch.no_grad():
        expected = SiglipModel.from_pretrained(folder).eval().get_text_features(input_ids=ids).pooler_output
        assert (net.encode_text() - torch.nn.functional.normalize(expected)).abs().max() <= 1e-6


def test_a_text_longer_than_the_context_of_siglip_is_refused(written):
    with pytest.raises(InputError, match=r"has 171 tokens with its prompts, .* accepts at most 160"):
        build(written("siglip"), texts={"happiness": "a" * 168, "sadness": "b", "surprise": "c"})
