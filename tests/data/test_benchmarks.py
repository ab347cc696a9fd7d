"""Readers of the released layouts: right paths, labels by name, right folds; wrong layouts are named."""

import pytest

from peclip.data import media
from peclip.data.benchmarks import READERS, prepare, read_benchmark
from peclip.data.benchmarks.comparison import COMPARISONS
from peclip.data.check.published import PUBLISHED
from peclip.data.manifest import Manifest
from peclip.data.source import split_source
from peclip.errors import InputError
from tests.trees import (
    DFEW_ORDER,
    MAFW_ORDER,
    SEVEN_FOLDERS,
    TREES,
    afew_tree,
    caer_tree,
    cremad_tree,
    dfew_tree,
    ferv39k_tree,
    labels_by_path,
    mafw_tree,
    ravdess_tree,
    write_clip,
)


def actors_of(manifest):
    return {path.rsplit("-", 1)[1] if "-" in path else path.split("/")[1][:4] for path in manifest.table["path"]}


@pytest.mark.parametrize("name", TREES)
def test_every_layout_is_prepared_and_read_back(tmp_path, name):
    root = TREES[name](tmp_path / "release")
    prepared = prepare(name, root, tmp_path / f"{name}.csv")
    again = Manifest.read(tmp_path / f"{name}.csv")
    assert [again.clip(i).path for i in range(len(again))] == [prepared.clip(i).path for i in range(len(again))]
    assert not len(again.missing())
    assert again.labels == prepared.labels
    assert len(again.labels) == PUBLISHED[name].labels
    assert again.folds == sorted(PUBLISHED[name].folds or again.folds)
    train, _, test = again.splits(again.folds[0] if again.folds else None)
    assert len(train) > len(test) > 0
    assert media.count_frames(again.clip(0).path) >= 3


def test_ferv39k_takes_labels_and_splits_from_lists_without_a_header(tmp_path):
    manifest = read_benchmark("ferv39k", ferv39k_tree(tmp_path))
    assert manifest.table["split"].value_counts().to_dict() == {"train": 28, "test": 14}
    first = manifest.clip(0)
    assert first.path == tmp_path / "2_ClipsforFaceCrop/Action/Angry/0001"
    assert (first.label, first.where) == ("anger", "4_setups/All_scenes/train_All.csv line 1")


def test_ferv39k_can_be_cut_to_a_scene(tmp_path):
    root = ferv39k_tree(tmp_path)
    manifest = read_benchmark("ferv39k", root, scene="dailylife")
    assert all("/DailyLife/" in path for path in manifest.table["path"])
    assert len(manifest) == 21
    with pytest.raises(InputError, match="no scene 'Beach', expected one of Action, DailyLife"):
        read_benchmark("ferv39k", root, scene="Beach")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Action/Sad/0010 Bored", "line 1: unknown emotion 'Bored', expected one of happiness"),
        ("1,6", "line 1: '1,6' is not SCENE/EMOTION/ID EMOTION"),
        ("00025.mp4 anger", "line 1: '00025.mp4 anger' is not SCENE/EMOTION/ID EMOTION"),
        ("Action/Angry/0029 Angry", "duplicate clip 2_ClipsforFaceCrop/Action/Angry/0029, first in"),
    ],
)
def test_ferv39k_names_the_line_that_cannot_be_meant(tmp_path, line, expected):
    root = ferv39k_tree(tmp_path)
    path = root / "4_setups/All_scenes/train_All.csv"
    path.write_text(f"{line}\n" + path.read_text())
    with pytest.raises(InputError) as error:
        read_benchmark("ferv39k", root)
    assert expected in str(error.value)
    assert "train_All.csv line 1" in str(error.value)


@pytest.mark.parametrize("captions", [False, True], ids=["names only", "GBK captions"])
@pytest.mark.parametrize("form", ["clips", "frames", "faces"])
def test_mafw_is_read_in_both_text_forms_by_name(tmp_path, captions, form):
    manifest = read_benchmark("mafw", mafw_tree(tmp_path, captions, form))
    suffix = ".mp4" if form == "clips" else ""
    expected = {f"data/{form}/{n:05d}{suffix}": MAFW_ORDER[(n - 1) % 11] for n in range(1, 23)}
    assert labels_by_path(manifest) == expected
    assert [len(manifest.splits(fold)[2]) for fold in manifest.folds] == [4, 5, 5, 4, 4]


def test_mafw_with_captions_says_which_class_is_absent(tmp_path):
    root = mafw_tree(tmp_path, captions=True)
    for path in root.rglob("*.txt"):
        path.write_bytes(
            b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b"neutral" not in line)
        )
    notes = prepare("mafw", root, tmp_path / "mafw.csv").notes
    assert "with_caption/set_1/test.txt) have 10 classes, no neutral" in notes[0]
    assert notes[-1] == "comparable: with 10 classes, numbers do not compare with published ones, which are on 11"


@pytest.mark.parametrize("name", TREES)
def test_prepare_says_with_whom_numbers_compare(tmp_path, name):
    notes = prepare(name, TREES[name](tmp_path / "release"), tmp_path / f"{name}.csv").notes
    assert [note for note in notes if note.startswith("comparable: ")] == [f"comparable: {COMPARISONS[name].note}"]
    assert COMPARISONS[name].classes == PUBLISHED[name].labels


def test_mafw_names_the_line_of_an_unknown_emotion_or_another_list(tmp_path):
    root = mafw_tree(tmp_path)
    path = root / "Train & Test Set/single/no_caption/set_3/test.txt"
    path.write_text(path.read_text() + "00999.mp4 bored\n")
    with pytest.raises(InputError, match=r"set_3/test\.txt line 6: unknown emotion 'bored', expected one of anger"):
        read_benchmark("mafw", root)
    path.write_text("video_name,label\n1,6\n")
    with pytest.raises(InputError, match=r"set_3/test\.txt line 1: .*is not a line of MAFW"):
        read_benchmark("mafw", root)


def test_afew_tests_on_val_and_may_be_lower_case(tmp_path):
    root = afew_tree(tmp_path)
    manifest = read_benchmark("afew", root)
    assert [len(part) for part in manifest.splits()] == [14, 0, 7]
    assert labels_by_path(manifest)["Val/Happy/000000018.avi"] == "happiness"
    for folder in ("Train", "Val"):
        (root / folder).rename(root / folder.lower())
    assert read_benchmark("afew", root).labels == manifest.labels


@pytest.mark.parametrize("angry", ["Anger", "Angry"])
def test_caer_has_three_splits_and_one_anger(tmp_path, angry):
    manifest = read_benchmark("caer", caer_tree(tmp_path, angry=angry))
    assert [len(part) for part in manifest.splits()] == [14, 7, 7]
    assert manifest.table["label"].eq("anger").sum() == 4


def test_an_unknown_class_folder_is_named(tmp_path):
    root = caer_tree(tmp_path)
    (root / "CAER/train/Boredom").mkdir()
    with pytest.raises(InputError, match=r"train/Boredom: unknown emotion 'Boredom'"):
        read_benchmark("caer", root)


def test_ravdess_reads_speech_once_and_no_actor_is_in_two_folds(tmp_path):
    manifest = read_benchmark("ravdess", ravdess_tree(tmp_path, actors=12))
    assert len(manifest) == 12 * 8
    assert all("/01-01-" in path for path in manifest.table["path"])
    labels = labels_by_path(manifest)
    assert labels["Actor_01/01-01-02-01-01-01-01.mp4"] == "calm"
    assert labels["Actor_12/01-01-06-01-01-01-12.mp4"] == "fear"
    tested = [actors_of(manifest.splits(fold)[2]) for fold in manifest.folds]
    assert [len(actors) for actors in tested] == [2] * 6
    assert len(set.union(*tested)) == 12


def test_ravdess_refuses_names_and_codes_of_other_data(tmp_path):
    root = ravdess_tree(tmp_path, actors=2)
    wrong = root / "Actor_02/01-01-09-01-01-01-02.mp4"
    write_clip(wrong, 99)
    with pytest.raises(InputError, match="unknown emotion 09, expected 01 to 08"):
        read_benchmark("ravdess", root)
    wrong.rename(root / "Actor_02/holiday.mp4")
    with pytest.raises(InputError, match=r"holiday\.mp4: not a name of RAVDESS"):
        read_benchmark("ravdess", root)


def test_cremad_leaves_out_the_broken_files_and_separates_the_actors(tmp_path):
    manifest = read_benchmark("cremad", cremad_tree(tmp_path, actors=10))
    assert len(manifest) == 60
    assert manifest.notes == ("skipped 1 file known to be broken: 1076_MTI_NEU_XX",)
    tested = [actors_of(manifest.splits(fold)[2]) for fold in manifest.folds]
    assert tested[0] == {"1001", "1006"}
    assert len(set.union(*tested)) == sum(map(len, tested)) == 10


@pytest.mark.parametrize(("name", "tree", "actors"), [("ravdess", ravdess_tree, 12), ("cremad", cremad_tree, 10)])
def test_actors_are_subjects_and_none_of_training_validates(name, tree, actors, tmp_path):
    manifest = read_benchmark(name, tree(tmp_path, actors=actors))
    splits = split_source(manifest, fold=1, val=0.2, seed=0)
    shown = [{*part.table["subject"]} for part in (splits.train, splits.val, splits.test)]
    assert shown == [
        {actor.removesuffix(".mp4") for actor in actors_of(part)} for part in (splits.train, splits.val, splits.test)
    ]
    assert all(shown)
    assert len(set.union(*shown)) == sum(map(len, shown)) == actors


def test_a_release_in_a_folder_of_its_name_is_found(tmp_path):
    dfew_tree(tmp_path / "DFEW")
    assert len(read_benchmark("dfew", tmp_path)) == 14


@pytest.mark.parametrize("name", READERS)
def test_a_missing_root_a_file_and_a_foreign_folder_are_named(tmp_path, name):
    with pytest.raises(InputError, match="no such folder"):
        read_benchmark(name, tmp_path / "none")
    file = tmp_path / "file.csv"
    file.write_text("path,label\n")
    with pytest.raises(InputError, match=r"file\.csv: is a file, expected a folder"):
        read_benchmark(name, file)
    with pytest.raises(InputError, match="expected"):
        read_benchmark(name, tmp_path)


def test_unknown_benchmarks_and_options_are_answered_with_those_that_exist(tmp_path):
    with pytest.raises(InputError, match=r"unknown benchmark 'dfev', expected one of dfew, ferv39k"):
        read_benchmark("dfev", tmp_path)
    with pytest.raises(InputError, match=r"unknown option 'scene' of benchmark afew, which accepts no options"):
        read_benchmark("afew", tmp_path, scene="Action")


def test_published_counts_add_up():
    for name, published in PUBLISHED.items():
        sums = {train + test for train, test in published.folds.values()}
        assert sums == {5100} if name == "hmdb51" else sums <= {published.clips}, name  # which has unused clips
        assert sum(published.splits.values()) in (0, published.clips)
        first = published.splits or dict(zip(("train", "test"), published.folds.get(1, ()), strict=False))
        for split, counts in published.classes.items():
            assert sum(counts.values()) == {**first, "all": published.clips}[split], name
            assert len(counts) == published.labels
    assert set(PUBLISHED) == set(TREES)


def test_seven_folders_are_the_seven_labels(tmp_path):
    assert read_benchmark("caer", caer_tree(tmp_path)).labels == list(DFEW_ORDER)
    assert len(SEVEN_FOLDERS) == 7
