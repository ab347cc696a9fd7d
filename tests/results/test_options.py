"""The options of a run: config.yaml and its changes."""

import pytest

from peclip.errors import InputError
from peclip.results.card import read_run
from peclip.results.options import CHANGES, OPTIONS, OptionChange, by_name, read_changes, read_options, write_changes

RATE = OptionChange(15, "model.lr_adapters", 0.0003, 0.002)
LONGER = OptionChange(15, "trainer.max_epochs", 3, 6)
SKIPS = OptionChange(30, "data.on_error", "raise", "skip")


@pytest.fixture
def run(tmp_path):
    (tmp_path / OPTIONS).write_text(
        "seed_everything: 0\ntrainer: {max_epochs: 3, callbacks: null}\n"
        "model: {lr_adapters: 0.0003, net: {adapters: {vision.mlp: a.B}}}\ndata: {manifest: a.csv, on_error: raise}\n"
    )
    return tmp_path


def test_changes_are_written_and_read(run):
    write_changes(run, [RATE, LONGER])
    assert read_changes(run) == (RATE, LONGER)
    assert (run / CHANGES).read_text().splitlines() == [
        "- {step: 15, option: model.lr_adapters, before: 0.0003, now: 0.002}",
        "- {step: 15, option: trainer.max_epochs, before: 3, now: 6}",
    ]
    write_changes(run, [])
    assert not (run / CHANGES).exists()


@pytest.mark.parametrize(
    ("step", "rate", "on_error"), [(15, 0.0003, "raise"), (16, 0.002, "raise"), (None, 0.002, "skip")]
)
def test_options_are_those_of_a_step(run, step, rate, on_error):
    write_changes(run, [RATE, LONGER, SKIPS])
    options = read_options(run, step)
    assert (options["model"]["lr_adapters"], options["data"]["on_error"]) == (rate, on_error)


def test_a_folder_without_a_record_has_none(tmp_path):
    assert read_options(tmp_path) is None
    assert read_changes(tmp_path) == ()


@pytest.mark.parametrize(
    "content",
    [
        "- {step: 15, option",
        "step: 3",
        "- {step: many, option: a, before: 1, now: 2}",
        f"- {{step: 1, option: a{'.a' * 100_000}, before: 1, now: 2}}",
    ],
    ids=["cut off", "no list", "another type", "endless name"],
)
def test_torn_changes_are_one_line(run, content):
    (run / CHANGES).write_text(content)
    with pytest.raises(InputError, match=r"changes\.yaml") as caught:
        read_options(run)
    assert "\n" not in str(caught.value)


def test_options_have_dotted_names_and_classes_are_one_value(run):
    named = dict(by_name(read_options(run)))
    assert named["model.net.adapters"] == {"vision.mlp": "a.B"}
    assert named["seed_everything"] == 0
    assert "trainer.callbacks" in named


def test_a_model_card_says_what_has_changed(run):
    write_changes(run, [RATE, OptionChange(3, "data.manifest", "/home/me/a.csv", "b.csv")])
    training = read_run(run).training
    assert training["lr_adapters"] == 0.002
    assert training["model.lr_adapters up to step 15"] == 0.0003
    assert "/home/me/a.csv" not in training.values()
