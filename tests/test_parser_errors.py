"""Messages of a parser in plain words, and the advice that it adds."""

import time

import pytest

from peclip.parser_errors import advice, in_plain_words

KNOWN = [
    "--seed_everything",
    "--trainer.max_epochs",
    "--model.lr_adapters",
    "--model.net.num_frames",
    "--data.num_frames",
]
KNOWN += ["--data.batch_size", "--data.eval_batch_size", "--model.class_weights", "--config", "--ckpt_path", "--out"]


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        ("--seed 3", "did you mean --seed_everything?"),
        ("--lr=3", "did you mean --model.lr_adapters?"),
        ("--epochs 3", "did you mean --trainer.max_epochs?"),
        ("--batch-size 3", "did you mean --data.batch_size?"),
        ("--Batch_Siz 3 --epochs 3", "did you mean --data.batch_size, --trainer.max_epochs?"),
        ("--data.bach_size 3", "did you mean --data.batch_size?"),
        ("--data.class_weights none", "did you mean --model.class_weights?"),
        ("--num_frames 3", "did you mean --data.num_frames?"),
        ("--qqqqq 3", ""),
        ("runs/a", "the trained model is --ckpt_path runs/a"),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(unknown, says):
    assert advice(unknown, KNOWN) == says
    assert advice("--seed 3", ["--model"]) == ""


@pytest.mark.parametrize(
    "value",
    [
        " ",
        "\n",
        "Does not validate against any of the Union subtypes Subtypes: ",
        "Does not validate against any of the Union subtypes\nSubtypes: []\nErrors:\n",
        "NestedArg(key='",
        "Type aCallable[] expects a function ] expects a function , but got ",
        "class_path: 'a",
        "trainer: Option 'a' is not accepted. Got value: NestedArg(",
        "Not a valid subclass of a\n Subclass types expect one of:\n - a",
    ],
)
@pytest.mark.parametrize(
    "before", ["Given value: ", 'Parser key "trainer": the following arguments are required: a\n Given value: ']
)
def test_a_long_value_in_a_message_is_searched_in_a_short_time(before, value):
    start = time.process_time()
    assert len(in_plain_words(before + value * 100_000)) <= 1003
    assert time.process_time() - start < 0.2
