"""The source of the clips, and the choice of those that validate."""

import time

import numpy as np
import pandas as pd
import pytest

from peclip.data.manifest import Manifest
from peclip.data.source import check_subjects, read_source, split_source, stratified_share
from peclip.errors import InputError
from tests.runs import write_data
from tests.trees import ferv39k_tree


def table(tmp_path, counts, **columns):
    """A manifest of so many clips a class; their files are not looked at."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    rows = pd.DataFrame({"path": [f"{i}.mp4" for i in range(len(labels))], "label": labels, **columns})
    return Manifest(rows, source=tmp_path / "clips.csv", root=tmp_path)


def read(manifest=None, root=None, benchmark=None, options=None):
    return read_source(manifest=manifest, root=root, benchmark=benchmark, options=options, outside=False)


def paths(manifest):
    return set(manifest.table["path"])


def test_a_manifest_a_folder_and_a_benchmark_are_read(tmp_path):
    manifest = write_data(tmp_path, {"train": 1, "test": 1})
    from_file, from_folder = read(manifest), read(root=tmp_path)
    assert paths(from_file) == paths(from_folder)
    assert from_file.labels == from_folder.labels == ["happiness", "sadness", "anger"]
    assert len(read(root=tmp_path, benchmark="folders")) == 6


def test_options_go_to_the_reader_of_the_benchmark(tmp_path):
    ferv39k_tree(tmp_path)
    assert len(read(root=tmp_path, benchmark="ferv39k")) == 42
    assert len(read(root=tmp_path, benchmark="ferv39k", options={"scene": "Action"})) == 21
    with pytest.raises(InputError, match="no scene 'Moon'"):
        read(root=tmp_path, benchmark="ferv39k", options={"scene": "Moon"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "set manifest FILE, or root DIR"),
        ({"benchmark": "ferv39k"}, "root"),
        ({"manifest": "clips.csv", "root": "clips"}, "manifest and root are both given"),
        ({"root": "nowhere"}, "nowhere: no such folder"),
        ({"root": "nowhere", "benchmark": "ferv39k"}, "nowhere: no such folder"),
        ({"root": ".", "benchmark": "imagenet"}, "unknown benchmark 'imagenet'"),
        ({"manifest": "nowhere.csv"}, "nowhere.csv: no such file"),
        ({"root": ".", "benchmark": "demo"}, "expected demo/manifest.csv: peclip fit generates them"),
    ],
)
def test_anything_but_one_source_that_is_there_is_refused(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says):
        read(**options)


def test_a_share_of_every_class_validates(tmp_path):
    clips = table(tmp_path, {"happiness": 100, "sadness": 40, "anger": 7, "fear": 2, "my own": 1})
    chosen = stratified_share(clips, 0.1, seed=0)
    assert chosen.groupby(clips.table["label"]).sum().to_dict() == {
        "happiness": 10,
        "sadness": 4,
        "anger": 1,  # at least one of two or more ...
        "fear": 1,
        "my own": 0,  # ... but never the only one
    }


def test_a_large_share_leaves_every_class_a_clip_to_train_on(tmp_path):
    clips = table(tmp_path, {"happiness": 3, "sadness": 2})
    assert stratified_share(clips, 0.99, seed=0).groupby(clips.table["label"]).sum().tolist() == [2, 1]


def test_the_seed_alone_decides_which_clips_validate(tmp_path):
    clips = table(tmp_path, {"happiness": 100, "sadness": 100})
    first, again, other = (stratified_share(clips, 0.1, seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_validation_clips_are_taken_out_of_training_and_test_clips_stay(tmp_path):
    clips = table(tmp_path, {"happiness": 20, "sadness": 20}, split=(["train"] * 15 + ["test"] * 5) * 2)
    splits = split_source(clips, fold=None, val=0.2, seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [24, 6, 10]
    assert paths(splits.train) | paths(splits.val) | paths(splits.test) == paths(clips)
    assert splits.val.table["label"].value_counts().to_dict() == {"happiness": 3, "sadness": 3}


def test_a_validation_split_of_the_source_is_taken_as_it_is(tmp_path):
    clips = table(tmp_path, {"happiness": 10}, split=["train"] * 7 + ["val"] * 3)
    splits = split_source(clips, fold=None, val=0.5, seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [7, 3, 0]


def test_no_share_is_no_validation(tmp_path):
    splits = split_source(table(tmp_path, {"happiness": 10}), fold=None, val=0, seed=0)
    assert (len(splits.train), len(splits.val)) == (10, 0)


def test_val_test_validates_on_the_test_clips_and_trains_on_all_others(tmp_path):
    clips = table(tmp_path, {"happiness": 10}, split=["train"] * 6 + ["val"] + ["test"] * 3)
    splits = split_source(clips, fold=None, val="test", seed=0)
    assert paths(splits.val) == paths(splits.test) == {"7.mp4", "8.mp4", "9.mp4"}
    assert len(splits.train) == 6


def test_val_test_needs_test_clips(tmp_path):
    with pytest.raises(InputError, match=r"clips\.csv has no test clips"):
        split_source(table(tmp_path, {"happiness": 4}), fold=None, val="test", seed=0)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
def test_a_share_outside_its_range_is_refused(share, tmp_path):
    with pytest.raises(InputError, match=rf"^val is {share}"):
        split_source(table(tmp_path, {"happiness": 4}), fold=None, val=share, seed=0)


def test_a_fold_is_tested_on_and_the_others_train_and_validate(tmp_path):
    clips = table(tmp_path, {"happiness": 12, "sadness": 12}, fold=[1, 2, 3] * 8)
    tests = []
    for fold in (1, 2, 3):
        splits = split_source(clips, fold=fold, val=0.25, seed=0)
        assert set(splits.test.table["fold"]) == {fold}
        assert [len(part) for part in (splits.train, splits.val, splits.test)] == [12, 4, 8]
        assert not paths(splits.test) & (paths(splits.train) | paths(splits.val))
        tests += splits.test.table["path"].tolist()
    assert sorted(tests) == sorted(paths(clips))
    with pytest.raises(InputError, match=r"fold 4 does not exist"):
        split_source(clips, fold=4, val=0.25, seed=0)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_validation_shows_nobody_from_training_with_every_class_at_its_share(share, tmp_path):
    counts = {"happiness": 400, "sadness": 200, "anger": 100}
    rng = np.random.default_rng(0)
    clips = table(tmp_path, counts, subject=[f"person {n}" for n in rng.integers(60, size=700)])
    splits = split_source(clips, fold=None, val=share, seed=0)
    assert not {*splits.train.table["subject"]} & {*splits.val.table["subject"]}
    assert paths(splits.train) | paths(splits.val) == paths(clips)
    for label, count in counts.items():
        assert splits.val.table["label"].eq(label).sum() / count == pytest.approx(share, abs=0.03)


def test_the_seed_decides_which_people_validate(tmp_path):
    clips = table(tmp_path, {"happiness": 100, "sadness": 100}, subject=[str(n % 20) for n in range(200)])
    first, again, other = (
        {*split_source(clips, fold=None, val=0.1, seed=seed).val.table["subject"]} for seed in (0, 0, 1)
    )
    assert len(first) == 2
    assert first == again != other


def test_clips_without_a_subject_are_each_on_their_own(tmp_path):
    clips = table(tmp_path, {"happiness": 20, "sadness": 20}, subject=["a"] * 10 + [""] * 30)
    splits = split_source(clips, fold=None, val=0.25, seed=0)
    assert splits.val.table["label"].value_counts().to_dict() == {"happiness": 5, "sadness": 5}


def test_every_class_of_two_people_validates_and_the_only_person_of_a_class_is_trained_on(tmp_path):
    rare = {"happiness": 90, "anger": 2, "fear": 3}
    clips = table(tmp_path, rare, subject=[str(n % 30) for n in range(90)] + ["0", "1"] + ["2"] * 3)
    for seed in range(10):
        splits = split_source(clips, fold=None, val=0.1, seed=seed)
        assert splits.train.labels == ["happiness", "anger", "fear"]
        assert splits.val.labels == ["happiness", "anger"]
        assert splits.notes == ["No validation clip shows fear."]


def test_few_people_with_many_clips_still_validate(tmp_path):
    clips = table(tmp_path, {"happiness": 40, "sadness": 40}, subject=["a", "b", "c", "d"] * 20)
    splits = split_source(clips, fold=None, val=0.1, seed=0)
    assert len({*splits.val.table["subject"]}) == 1
    assert splits.notes == []


@pytest.mark.parametrize(
    ("subjects", "says"),
    [
        (["a"] * 8, "the only subject is 'a'"),
        (["a"] * 4 + ["b"] * 4, "each is the only one of some class"),
    ],
)
def test_people_who_cannot_be_kept_apart_are_reported_in_one_line(subjects, says, tmp_path):
    clips = table(tmp_path, {"happiness": 4, "sadness": 4}, subject=subjects)
    with pytest.raises(InputError, match=rf"clips\.csv: val is 0\.1, but no subject can be held out .*{says}"):
        split_source(clips, fold=None, val=0.1, seed=0)
    assert len(split_source(clips, fold=None, val=0, seed=0).val) == 0


@pytest.mark.parametrize(
    ("columns", "fold", "sides"),
    [
        ({"split": ["train", "test"] * 2}, None, ("train", "test")),
        ({"split": ["val", ""] * 2}, None, ("val", "train")),
        ({"fold": [1, 2] * 2}, 1, ("test", "train")),
    ],
)
def test_a_subject_on_two_sides_is_refused(columns, fold, sides, tmp_path):
    clips = table(tmp_path, {"happiness": 4}, subject=["a", "a", "b", "c"], **columns)
    with pytest.raises(InputError, match=f"subject 'a' is in {sides[0]} here and in {sides[1]} in"):
        check_subjects(clips, fold, 0.1)
    check_subjects(clips.select(clips.table["subject"].ne("a")), fold, 0.1)


def test_a_validation_split_that_is_not_used_may_show_people_of_training(tmp_path):
    clips = table(tmp_path, {"happiness": 3}, subject=["a", "a", "b"], split=["train", "val", "test"])
    check_subjects(clips, None, "test")


def test_a_hundred_thousand_people_are_divided_in_seconds(tmp_path):
    many = 100_000
    clips = table(tmp_path, {"happiness": many, "sadness": many}, subject=[str(n % many) for n in range(2 * many)])
    started = time.process_time()
    splits = split_source(clips, fold=None, val=0.1, seed=0)
    assert time.process_time() - started < 10
    assert splits.val.table["label"].value_counts().to_dict() == {"happiness": 10_000, "sadness": 10_000}


def test_clips_of_a_video_each_validate_as_before(tmp_path):
    clips = table(tmp_path, {"happiness": 30, "sadness": 20})
    validated = split_source(clips, None, 0.1, seed=3).val.table["path"].tolist()
    assert validated == clips.table["path"][stratified_share(clips, 0.1, seed=3)].tolist()
