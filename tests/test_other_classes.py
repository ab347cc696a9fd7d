"""A trained model is not tied to its labels: other data sets, unseen classes and other class texts."""

import csv
import json
from contextlib import chdir

import pytest

from tests.runs import run, write_data

pytestmark = pytest.mark.usefixtures("blank_pictures")

TEXTS = "{contempt: Dimpler., boredom: Eyes closed.}"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The manifest of test clips of three classes, two of which the tiny run was not trained on."""
    return write_data(tmp_path_factory.mktemp("other"), {"test": 2}, ["happiness", "contempt", "boredom"])


@pytest.fixture
def start(tiny_run, other, tmp_path):
    """Evaluates the tiny run on these clips, and returns its result and the folder of its files."""

    def run_it(*options, command="test", clips=other):
        with chdir(tmp_path):
            result = run(command, "--ckpt_path", tiny_run, "--data.manifest", clips, "--out", "out", *options)
        return result, tmp_path / "out"

    return run_it


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def labels_in(folder, first=3):
    """The labels in the header of the predictions, which follow path, label and predicted, or path and predicted."""
    with (folder / "predictions.csv").open(newline="") as file:
        return next(csv.reader(file))[first:]


def test_classes_that_a_model_does_not_have_need_a_decision(start):
    result, folder = start()
    assert result.status == 2
    assert result.err.endswith(
        "unknown label 'contempt', expected one of happiness, sadness, anger; to omit such clips, set data.other_labels to skip\n"
    )
    assert not folder.exists()


@pytest.mark.parametrize(("texts", "reworded"), [("names", ["happiness"]), (TEXTS, [])])
def test_class_texts_make_other_classes_recognizable_and_the_report_says_so(start, texts, reworded):
    result, folder = start("--model.net.texts", texts)
    assert (result.status, result.err) == (0, "")
    found = metrics_of(folder)
    assert found["clips"] == 6
    unseen = ["contempt", "boredom"]
    assert found["classes"] == {"unseen": unseen, "reworded": reworded, "absent": ["sadness", "anger"]}
    assert labels_in(folder) == ["happiness", *unseen]
    shown = " ".join(result.out.split())
    assert "2 labels not trained on: contempt, boredom; " in shown
    assert ("1 label with other class texts than in the training: happiness; " in shown) == bool(reworded)


def test_a_template_makes_texts_of_all_classes(start):
    result, folder = start("--model.net.texts", "a video of a person who shows {label}", command="test")
    assert (result.status, result.err) == (0, "")
    assert metrics_of(folder)["classes"]["unseen"] == ["contempt", "boredom"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            "a video of a person",
            "model.net.texts is 'a video of a person', expected action_units, names, sentences, a template",
        ),
        ("a video of {label", "model.net.texts is 'a video of {label', expected action_units,"),
        ("{label} and {other}", "model.net.texts is '{label} and {other}', which has other braces than {label}"),
    ],
)
def test_a_template_without_label_is_refused_in_one_line(start, texts, expected):
    result, folder = start("--model.net.texts", texts)
    assert result.status == 2
    assert expected in result.err
    assert result.err.count("\n") == 1
    assert not folder.exists()


def test_other_texts_for_the_same_classes_are_reported(start, tiny_data):
    result, folder = start("--model.net.texts", "sentences", clips=tiny_data)
    assert result.status == 0
    assert metrics_of(folder)["classes"] == {"unseen": [], "reworded": ["happiness", "sadness", "anger"], "absent": []}


def test_the_same_texts_are_no_remark(start, tiny_data):
    result, folder = start("--model.net.texts", "action_units", clips=tiny_data)
    assert result.status == 0
    assert "classes" not in metrics_of(folder)


def test_clips_of_other_classes_may_be_omitted_and_are_counted(start):
    result, folder = start("--data.other_labels", "skip")
    assert (result.status, result.err) == (0, "")
    found = metrics_of(folder)
    assert (found["clips"], found["other_labels"]) == (2, {"contempt": 2, "boredom": 2})
    assert labels_in(folder) == ["happiness", "sadness", "anger"]
    assert "omitted clips of other labels: contempt 2, boredom 2" in " ".join(result.out.split())


def test_labels_may_be_chosen_among_those_of_the_data(start):
    result, folder = start(
        *("--model.net.texts", TEXTS, "--data.labels", "[boredom, contempt]", "--data.other_labels", "skip")
    )
    assert result.status == 0
    found = metrics_of(folder)
    assert (found["clips"], found["other_labels"]) == (4, {"happiness": 2})
    assert labels_in(folder) == ["boredom", "contempt"]


def test_a_class_without_a_text_is_refused(start):
    result, _ = start("--model.net.texts", "{contempt: Dimpler.}")
    assert result.status == 2
    assert "model.net.texts is missing 'boredom'" in result.err


def test_data_without_any_label_of_the_model_are_refused(start, tmp_path):
    clips = write_data(tmp_path / "none", {"test": 1}, ["contempt", "boredom"])
    result, _ = start("--data.other_labels", "skip", clips=clips)
    assert result.status == 2
    assert (
        "manifest.csv: no clip has one of the labels happiness, sadness, anger, its labels are contempt, boredom"
        in result.err
    )


def test_unlabelled_clips_are_predicted_as_the_classes_of_the_texts(start, other, tmp_path):
    unlabelled = other.with_name("unlabelled.csv")
    unlabelled.write_text("path\n" + "".join(f"{row.split(',')[0]}\n" for row in other.read_text().splitlines()[1:]))
    result, folder = start("--model.net.texts", TEXTS, command="predict", clips=unlabelled)
    assert (result.status, result.err) == (0, "")
    assert "2 labels not trained on: contempt, boredom" in result.out
    assert labels_in(folder, first=2) == ["contempt", "boredom"]
