"""The training data of the demo CLIP: action units of synthetic stills, in captions that never name an expression."""

import random
import re

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPModel

from peclip.demo.tasks import PRETRAINING_PEOPLE, TEST_PEOPLE, TRAIN_PEOPLE
from peclip.labels import KNOWN, SPELLINGS
from tools.pretrain_demo_clip import build, caption, save, still, train, train_tokenizer

NAMES = re.compile("|".join({*KNOWN, *SPELLINGS}), re.IGNORECASE)


def test_stills_are_reproducible_and_of_other_people_than_the_clips():
    first, shown = still(PRETRAINING_PEOPLE[0])
    again, same = still(PRETRAINING_PEOPLE[0])
    assert np.array_equal(first, again)
    assert shown == same
    assert set(PRETRAINING_PEOPLE).isdisjoint([*TRAIN_PEOPLE, *TEST_PEOPLE])


def test_captions_name_what_is_shown_and_no_expression():
    rng = random.Random(0)
    said = [caption(("jaw_drop", "brow_lowerer"), rng) for _ in range(50)]
    assert all("jaw drop" in text.lower() and "brow lowerer" in text.lower() for text in said)
    assert len(set(said)) > 5
    rest = [caption((), rng) for _ in range(50)]
    words = " ".join(said + rest).replace("Calm Eyes", "").replace("calm eyes", "")
    assert not NAMES.search(words)


def test_a_short_training_saves_what_from_pretrained_loads(tmp_path):
    torch.manual_seed(0)
    bank = [still(number) for number in PRETRAINING_PEOPLE[:16]]
    rng = random.Random(0)
    tokenizer = train_tokenizer([caption(shown, rng) for _, shown in bank], tmp_path)
    model = build(tokenizer, torch.from_numpy(np.stack([picture for picture, _ in bank])))
    before = model.visual_projection.weight.detach().clone()
    train(model, tokenizer, bank, steps=3, batch=8, lr=1e-3, seed=0)
    assert not torch.equal(model.visual_projection.weight, before)
    save(model, tmp_path)
    loaded = CLIPModel.from_pretrained(tmp_path, dtype="float32")
    assert torch.equal(loaded.visual_projection.weight, model.visual_projection.weight.float())
    ids = AutoTokenizer.from_pretrained(tmp_path)("X X jaw drop").input_ids
    assert ids == tokenizer("X X jaw drop").input_ids
    assert ids[1] == ids[2]
    assert ids[-1] == max(ids) == loaded.config.text_config.eos_token_id
