"""Labels of manifests and of class folders: one rule for names, and every name is written and read as it is."""

from pathlib import Path

import pandas as pd
import pytest

from peclip.data.benchmarks.folders import folders
from peclip.data.manifest import Manifest
from peclip.errors import InputError


def write(folder, text, name="clips.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_spellings_of_a_label_are_one_class(tmp_path):
    rows = "path,label\na,very bored\nb,very\u00a0bored\nc, very  bored \nd,\u00e9t\u00e9\ne,e\u0301te\u0301\n"
    manifest = Manifest.read(write(tmp_path, rows))
    assert manifest.labels == ["very bored", "\u00e9t\u00e9"]


@pytest.mark.parametrize("label", ["very\tbored", "\x1b[31mred", "a\x85b", "a\u202eb"])
def test_a_label_that_cannot_be_the_name_of_a_class_is_named_with_its_line(label, tmp_path):
    with pytest.raises(
        InputError, match=r"clips\.csv line 3: the label '.*' is not a class name: it contains the control character"
    ):
        Manifest.read(write(tmp_path, f"path,label\na,happy\nb,{label}\n"))


def test_a_folder_whose_name_cannot_be_that_of_a_class_is_named(tmp_path):
    write(tmp_path, "x", "clips/ok/a.mp4")
    write(tmp_path, "x", "clips/a\x01b/a.mp4")
    with pytest.raises(
        InputError, match=r"a\x01b/a\.mp4: the label 'a\\x01b' is not a class name: it contains the control character"
    ):
        folders(tmp_path / "clips")


@pytest.mark.parametrize(
    ("label", "own"),
    [
        ("happiness+anger", "happiness and anger"),
        ('"happiness,anger"', "happiness and anger"),
        ("Happy | boredom", "happiness and boredom"),
        ("run+jump", "run and jump"),
        ("run;jump", "run and jump"),
    ],
)
def test_a_clip_with_several_labels_is_refused_rather_than_made_a_class(label, own, tmp_path):
    text = f"path,label\na,run\nb,jump\nc,{label}\n"
    with pytest.raises(
        InputError, match=rf"clips\.csv line 4: the label .* names 2 classes, .* call the combination '{own}'"
    ):
        Manifest.read(write(tmp_path, text))


def test_a_folder_of_clips_with_several_labels_is_refused(tmp_path):
    for name in ("happy", "sad", "happy+sad"):
        write(tmp_path, "x", f"clips/{name}/a.mp4")
    with pytest.raises(InputError, match=r"happy\+sad/a\.mp4: the label 'happy\+sad' names 2 classes"):
        folders(tmp_path / "clips")


@pytest.mark.parametrize("label", ["C++", "salt, pepper and more", "1+1", "playing guitar, electric"])
def test_a_name_with_a_comma_or_a_plus_that_joins_no_classes_is_one_class(label, tmp_path):
    text = f'path,label\na,playing guitar\nb,1\nc,"{label}"\n'
    assert label in Manifest.read(write(tmp_path, text)).labels


@pytest.mark.parametrize(
    "labels", [("null", "NA", "nan"), ("1e3", "0x1", "007"), ("True", "yes", "no"), ("#a", "a,b", 'c"d')]
)
def test_labels_that_look_like_values_are_written_and_read_as_text(labels, tmp_path):
    rows = [{"path": label.encode().hex(), "label": label} for label in labels]
    Manifest(pd.DataFrame(rows), Path("made"), tmp_path).write(tmp_path / "out.csv")
    assert list(Manifest.read(tmp_path / "out.csv").table["label"]) == list(labels)
