"""The readers of UCF101 and HMDB51: their folds, groups, names and suffixes."""

import re
import shutil

import pytest

from peclip.data.benchmarks import prepare, read_benchmark
from peclip.data.manifest import Manifest
from peclip.data.source import split_source
from peclip.errors import InputError
from tests.trees import (
    hmdb51_tree,
    mafw_tree,
    ucf101_tree,
)


def test_ucf101_tests_each_group_in_its_fold_and_keeps_groups_apart_in_validation(tmp_path):
    manifest = read_benchmark("ucf101", ucf101_tree(tmp_path, classes=3, groups=(1, 2, 8, 15, 22, 23)))
    for fold, group in {1: "01", 2: "08", 3: "15"}.items():
        train, _, test = manifest.splits(fold)
        tested = {path[-10:-8] for path in test.table["path"]}
        assert group in tested
        assert not tested & {path[-10:-8] for path in train.table["path"]}
    clips = split_source(manifest, 1, 0.3, seed=0)
    assert len(clips.val)
    assert not {*clips.val.table["subject"]} & {*clips.train.table["subject"]}
    assert manifest.labels == ["ArcheryArchery", "ArcheryBilliards", "ArcheryBowling"]
    assert manifest.clip(0).where == "ucfTrainTestlist/testlist01.txt line 1"


def test_ucf101_and_hmdb51_are_found_under_other_names_and_suffixes(tmp_path):
    ucf101_tree(tmp_path / "ucf", classes=2)
    (tmp_path / "ucf/UCF-101").rename(tmp_path / "ucf/videos")
    (tmp_path / "ucf/ucfTrainTestlist").rename(tmp_path / "ucf/annotations")
    clip = tmp_path / "ucf/videos/ArcheryArchery/v_ArcheryArchery_g08_c01.avi"
    clip.rename(clip.with_suffix(".mp4"))
    assert not len(read_benchmark("ucf101", tmp_path / "ucf").missing())
    hmdb51_tree(tmp_path / "hmdb/hmdb51_org", classes=2)
    (tmp_path / "hmdb/hmdb51_org/testTrainMulti_7030_splits").rename(tmp_path / "hmdb/splits")
    assert not len(read_benchmark("hmdb51", tmp_path / "hmdb").missing())


def test_of_two_clips_of_one_name_the_one_of_the_list_is_read_or_none(tmp_path):
    ucf101_tree(tmp_path, classes=2)
    listed = tmp_path / "UCF-101/ArcheryArchery/v_ArcheryArchery_g08_c01.avi"
    shutil.copy(listed, listed.with_suffix(".mp4"))
    assert not len(read_benchmark("ucf101", tmp_path).missing())
    listed.rename(listed.with_suffix(".mkv"))
    with pytest.raises(InputError, match=r"g08_c01\.avi' may be \S+mkv or \S+mp4: keep one of them"):
        read_benchmark("ucf101", tmp_path)


def test_hmdb51_folds_may_share_test_clips_and_leave_clips_out(tmp_path):
    manifest = read_benchmark("hmdb51", hmdb51_tree(tmp_path, classes=2))
    assert manifest.folds == [1, 2, 3]
    sizes = [tuple(map(len, manifest.splits(fold))) for fold in manifest.folds]
    assert sizes == [(6, 0, 2), (4, 0, 2), (6, 0, 2)]
    again = prepare("hmdb51", tmp_path, tmp_path / "hmdb51.csv")
    assert [list(Manifest.read(tmp_path / "hmdb51.csv").roles(fold)) for fold in (1, 2, 3)] == [
        list(again.roles(fold)) for fold in (1, 2, 3)
    ]


def test_hmdb51_has_videos_as_subjects_only_where_its_folds_keep_them_apart(tmp_path):
    apart = read_benchmark("hmdb51", hmdb51_tree(tmp_path, classes=2))
    assert apart.table["subject"].nunique() == 6
    assert apart.notes == ()
    path = next((tmp_path / "testTrainMulti_7030_splits").glob("*_test_split2.txt"))
    path.write_text(path.read_text().replace(".avi 0", ".avi 1"))  # now this video is trained and tested on in fold 2
    mixed = read_benchmark("hmdb51", tmp_path)
    assert mixed.table["subject"].eq("").all()
    assert "videos" in mixed.notes[0]


@pytest.mark.parametrize(
    ("name", "tree", "path", "line", "expected"),
    [
        (
            "ucf101",
            ucf101_tree,
            "ucfTrainTestlist/trainlist02.txt",
            "Archery",
            "trainlist02.txt line 1: 'Archery' is not a line",
        ),
        (
            "hmdb51",
            hmdb51_tree,
            "testTrainMulti_7030_splits/archery_archery_test_split2.txt",
            "a.avi 3",
            "line 1: 'a.avi 3' is not",
        ),
        (
            "ucf101",
            ucf101_tree,
            "ucfTrainTestlist/trainlist02.txt",
            "../clip.avi",
            "trainlist02.txt line 1: '../clip.avi' is not a line",
        ),
        (
            "hmdb51",
            hmdb51_tree,
            "testTrainMulti_7030_splits/archery_archery_test_split2.txt",
            "/etc/a.avi 1",
            "line 1: '/etc/a.avi 1' is not",
        ),
    ],
)
def test_a_list_of_actions_that_cannot_be_meant_is_named_with_its_line(tmp_path, name, tree, path, line, expected):
    tree(tmp_path, classes=2)
    (tmp_path / path).write_text(f"{line}\n")
    with pytest.raises(InputError, match=re.escape(expected)):
        read_benchmark(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "tree", "path", "says"),
    [
        ("ucf101", ucf101_tree, "ucfTrainTestlist/testlist02.txt", "of fold 2, whose list of test clips is missing"),
        (
            "hmdb51",
            hmdb51_tree,
            "testTrainMulti_7030_splits/archery_archery_test_split2.txt",
            "archery_archery_test_split2.txt is missing, but other classes have their lists of fold 2",
        ),
    ],
)
def test_a_list_without_which_a_fold_would_be_another_is_missed(tmp_path, name, tree, path, says):
    tree(tmp_path, classes=2)
    (tmp_path / path).unlink()
    with pytest.raises(InputError, match=says):
        read_benchmark(name, tmp_path)


@pytest.mark.parametrize("start", ["../x/", "/etc/"])
def test_a_list_that_leads_out_of_the_data_set_is_refused(tmp_path, start):
    mafw_tree(tmp_path)
    for path in tmp_path.rglob("set_1/test.txt"):
        path.write_text(start + path.read_text())
    with pytest.raises(InputError, match=r"test.txt line 1: .* leads out of the folder of the data set"):
        read_benchmark("mafw", tmp_path)


@pytest.mark.parametrize(
    ("name", "tree", "path"),
    [
        ("ucf101", ucf101_tree, "ucfTrainTestlist/trainlist01.txt"),
        ("mafw", mafw_tree, "Train & Test Set/single/no_caption/set_1/train.txt"),
    ],
)
def test_a_fold_trains_on_what_its_list_says_and_on_nothing_else(tmp_path, name, tree, path):
    before = read_benchmark(name, tree(tmp_path)).splits(1)
    lines = (tmp_path / path).read_text().splitlines(keepends=True)
    (tmp_path / path).write_text("".join(lines[2:]))
    manifest = read_benchmark(name, tmp_path)
    train, _, test = manifest.splits(1)
    assert len(train) == len(before[0]) - 2 == len(lines) - 2
    assert len(test) == len(before[2])
    assert f"fold 1 uses {len(manifest) - 2} of {len(manifest)} clips" in manifest.notes[0]
