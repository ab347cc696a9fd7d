"""peclip check says where peclip fit refuses a manifest unless an option is set, and which."""

import inspect
import time

import pandas as pd
import pytest

from peclip.data import VideoDataModule
from peclip.data.check import check
from peclip.data.check.defaults import refused_by_default
from peclip.data.manifest import Manifest
from peclip.data.source import DEFAULT_VAL, split_source
from peclip.errors import InputError
from tests.data.checked import four_clips, manifest_of
from tests.runs import run
from tests.trees import write_clip


def test_a_manifest_that_fit_refuses_unless_told_otherwise_is_no_plain_yes(tmp_path):
    (tmp_path / "lists").mkdir()
    lines = [f"{tmp_path}/{row['path']},{row['label']},{row['split']}" for row in four_clips(tmp_path)]
    path = tmp_path / "lists/m.csv"
    path.write_text("\n".join(["path,label,split", *lines]) + "\n")
    with pytest.raises(InputError, match="allow_outside"):
        Manifest.read(path)
    result = run("check", path)
    assert result.status == 0
    assert (
        "note: Some clips lie outside the folder of this file: train on it with --data.allow_outside true" in result.out
    )
    assert result.out.endswith("fit to train on: yes, but not with the default options of peclip fit: see the notes\n")


def test_a_manifest_without_a_subject_that_could_validate_says_what_to_set(tmp_path):
    rows = [{**row, "subject": name} for row, name in zip(four_clips(tmp_path), "abcd", strict=True)]
    manifest = manifest_of(rows, tmp_path)
    with pytest.raises(InputError, match="no subject can be held out"):
        split_source(manifest, None, DEFAULT_VAL, seed=0)
    report = check(manifest)
    assert report.fit_to_train
    (condition,) = report.conditions
    assert condition == (
        f"peclip fit with its default options refuses this manifest: {tmp_path}/m.csv: data.val is 0.1, but no subject can be "
        "held out for validation: each is the only one of some class; add a split val, or set val to 0 or test, or remove "
        "the column subject"
    )
    assert report.verdict == "yes, but not with the default options of peclip fit: see the notes"
    rows[1]["split"] = "val"
    assert check(manifest_of(rows, tmp_path)).conditions == []


def test_a_manifest_whose_class_is_pieces_of_one_video_says_what_to_set(tmp_path):
    rows = four_clips(tmp_path)
    halves = [{**row, "start": start, "end": start + 0.3} for row in rows for start in (0, 0.3)]
    (condition,) = check(manifest_of(halves, tmp_path)).conditions
    assert condition.endswith(
        "no video can be held out for validation: each is the only one of some class; add a split "
        "val, or set val to 0 or test"
    )


def test_the_folds_in_which_no_subject_could_validate_are_named(tmp_path):
    rows = four_clips(tmp_path)
    write_clip(tmp_path / "4.mp4", 4, 16)
    rows.append({**rows[0], "path": "4.mp4"})
    for row, name, fold in zip(rows, "abcde", (2, 2, 1, 1, 1), strict=True):
        row.update(subject=name, split="", fold=fold)
    conditions = check(manifest_of(rows, tmp_path)).conditions
    told = [condition.partition(": ")[0] for condition in conditions]
    assert told == ["peclip fit with its default options refuses this manifest in fold 1"]


def test_classes_without_texts_are_no_plain_yes(tmp_path):
    names = {"happy": "cat", "sad": "dog"}
    report = check(manifest_of([{**row, "label": names[row["label"]]} for row in four_clips(tmp_path)], tmp_path))
    assert report.verdict == "yes, but not with the default options of peclip fit: see the notes"
    (condition,) = report.conditions
    assert condition.startswith(
        "peclip fit with its default options refuses this manifest: model.net.texts is missing 'cat'"
    )
    assert "choose names, sentences or a template" in condition


def test_the_folds_in_which_a_class_cannot_be_trained_are_no_plain_yes(tmp_path):
    rows = [{**row, "split": "", "fold": 1 + number % 3} for number, row in enumerate(four_clips(tmp_path) * 2)]
    rows = [{**row, "path": f"{number}.mp4"} for number, row in enumerate(rows)]
    for number in range(4, 8):
        write_clip(tmp_path / f"{number}.mp4", number, 16)
    rows[2]["label"], rows[5]["label"] = "anger", "anger"
    report = check(manifest_of(rows, tmp_path))
    assert report.fit_to_train
    (condition,) = report.conditions
    assert condition == (
        f"peclip fit with its default options refuses this manifest in fold 3: {tmp_path}/m.csv: class 'anger' is empty, it "
        "has no clip to train on; add clips, or list the other classes in data.labels and set data.other_labels to skip"
    )


def test_the_default_share_for_validation_is_that_of_training():
    assert inspect.signature(VideoDataModule).parameters["val"].default == DEFAULT_VAL


def test_many_folds_with_all_classes_are_seen_at_once_to_be_accepted(tmp_path):
    rows = [(f"{n}.mp4", ("happiness", "sadness")[n % 2], 1 + n // 2 % 50) for n in range(20_000)]
    clips = manifest_of(pd.DataFrame(rows, columns=["path", "label", "fold"]), tmp_path)
    started = time.process_time()
    assert [*refused_by_default(clips)] == []
    assert time.process_time() - started < 0.8
