"""The reader of DFEW: its lists under other names and in other forms, labels from 0 and from 1, and its folds."""

import pytest

from peclip.data.benchmarks import prepare, read_benchmark
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from tests.trees import (
    DFEW_ORDER,
    dfew_tree,
    labels_by_path,
    write_clip,
)


@pytest.mark.parametrize("official", [True, False], ids=["official lists", "lists of other programs"])
@pytest.mark.parametrize("first_label", [1, 0], ids=["from 1", "from 0"])
def test_dfew_tells_labels_from_0_and_from_1_apart_by_their_range(tmp_path, first_label, official):
    manifest = read_benchmark("dfew", dfew_tree(tmp_path, first_label, official))
    expected = {f"Clip/clip_224x224/{n:05d}": DFEW_ORDER[(n - 1) % 7] for n in range(1, 15)}
    assert labels_by_path(manifest) == expected


@pytest.mark.parametrize(("first_label", "official"), [(1, True), (0, False)])
def test_dfew_lists_that_do_not_tell_are_read_as_their_kind_counts(tmp_path, first_label, official):
    root = dfew_tree(tmp_path, first_label, official)
    for path in (root / "EmoLabel_DataSplit").rglob("*.csv"):
        kept = [line for line in path.read_text().splitlines() if not line.endswith((",0", ",7"))]
        path.write_text("\n".join(kept) + "\n")
    for path, label in labels_by_path(read_benchmark("dfew", root)).items():
        assert label == DFEW_ORDER[(int(path[-5:]) - 1) % 7]


@pytest.mark.parametrize(
    ("lists", "frames"),
    [
        ("EmoLabel_DataSplit/{part}(single-labeled)/{part}_set_{fold}.csv", "Clip/clip_224x224"),
        ("EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}_{part}.csv", "Clip/clip_224x224/clip_224x224"),
        ("EmoLabel_DataSplit/{part}/set_{fold}.csv", "clip_224x16f"),
        ("EmoLabel_DataSplit/set_{fold}_{part}.csv", "Clip/jpg_256"),
        ("EmoLabel_DataSplit/{part}(single-labeled)/set{fold}.csv", "jpgs"),
        ("data_affine/single_label/label/single_{part}set_{fold}.csv", "data_affine/single_label/data"),
        ("saved/dfew/org/split0{fold}/{part}.csv", "Clip/clip_224x224"),
        ("annotation/DFEW_set_{fold}_{part}.txt", "DFEW-part2/Clip/clip_224x224"),
        ("fd{fold}/{part}.txt", "frames"),
        ("{part}{fold}.csv", "clips"),
    ],
)
@pytest.mark.parametrize("first_label", [0, 1])
def test_dfew_is_found_under_the_names_of_other_programs(tmp_path, lists, frames, first_label):
    root = dfew_tree(tmp_path, first_label)
    for part in ("train", "test"):
        for fold in range(1, 6):
            path = root / lists.format(part=part, fold=fold)
            path.parent.mkdir(parents=True, exist_ok=True)
            (root / f"EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv").rename(path)
    (root / "Clip/clip_224x224").rename(root / "old")
    (root / frames).parent.mkdir(parents=True, exist_ok=True)
    (root / "old").rename(root / frames)
    manifest = read_benchmark("dfew", root)
    assert labels_by_path(manifest) == {f"{frames}/{n:05d}": DFEW_ORDER[(n - 1) % 7] for n in range(1, 15)}
    assert [path[-2:] for path in manifest.splits(2)[2].table["path"]] == ["01", "06", "11"]
    assert manifest.notes == (f"the labels of the lists count from {first_label}",)


@pytest.mark.parametrize(
    "line",
    [
        "{n:05d},{y}",
        "{n};{y}",
        "{n}\t{y}",
        "/mnt/DFEW/Clip/jpg_256/{n:05d} {y}",
        "F:\\DFEW\\clip\\{n:05d}.mp4 16 {y}",
        "{n} {name}",
    ],
)
def test_dfew_lists_may_have_other_columns(tmp_path, line):
    root = dfew_tree(tmp_path)
    for path in (root / "EmoLabel_DataSplit").rglob("*.csv"):
        pairs = [map(int, row.split(",")) for row in path.read_text().splitlines()[1:]]
        path.write_text(
            "".join(line.format(n=n, y=y, name=DFEW_ORDER[y - 1]) + "\n" for n, y in pairs), encoding="utf-16"
        )
    assert labels_by_path(read_benchmark("dfew", root))["Clip/clip_224x224/00002"] == "sadness"


def test_dfew_lists_beside_those_of_the_release_are_ignored_and_others_must_agree(tmp_path):
    root = dfew_tree(tmp_path)
    folder = root / "EmoLabel_DataSplit"
    (folder / "train_set_1.csv").write_text("video_name,label\n1,6\n")
    assert len(read_benchmark("dfew", root)) == 14
    (folder / "train(single-labeled)/set_1.csv").rename(folder / "set_1_train.csv")
    with pytest.raises(
        InputError, match=r"set_1_train.csv and .*train_set_1.csv are both for train of fold 1, and differ"
    ):
        read_benchmark("dfew", root)


def test_dfew_lists_that_show_nothing_under_other_names_need_the_option(tmp_path):
    root = dfew_tree(tmp_path)
    for path in [*(root / "EmoLabel_DataSplit").rglob("*.csv")]:
        kept = [line for line in path.read_text().splitlines() if not line.endswith(",7")]
        path.with_name(f"{path.parent.name[:4]}_{path.stem}_x.csv").write_text("\n".join(kept) + "\n")
        path.unlink()
    with pytest.raises(InputError, match="do its labels count from 0 or from 1"):
        read_benchmark("dfew", root)
    assert labels_by_path(read_benchmark("dfew", root, first_label="1"))["Clip/clip_224x224/00002"] == "sadness"
    assert labels_by_path(read_benchmark("dfew", root, first_label="0"))["Clip/clip_224x224/00002"] == "neutral"


def test_dfew_without_lists_names_the_command_for_others(tmp_path):
    write_clip(tmp_path / "Clip/clip_224x224/00001", 1)
    with pytest.raises(
        InputError, match=r"no list of DFEW, expected EmoLabel_DataSplit.*see peclip prepare list --help"
    ):
        read_benchmark("dfew", tmp_path)


def test_dfew_has_five_folds_each_testing_the_clips_of_its_list(tmp_path):
    manifest = read_benchmark("dfew", dfew_tree(tmp_path))
    assert manifest.folds == [1, 2, 3, 4, 5]
    train, _, test = manifest.splits(2)
    assert [path[-2:] for path in test.table["path"]] == ["01", "06", "11"]
    assert len(train) == 11


def test_dfew_accepts_the_folder_name_of_its_readme(tmp_path):
    root = dfew_tree(tmp_path)
    for part in ("train", "test"):
        folder = root / "EmoLabel_DataSplit"
        (folder / f"{part}(single-labeled)").rename(folder / f"{part}(single_labeled)")
    assert len(read_benchmark("dfew", root)) == 14


def test_dfew_forms_are_chosen_by_what_is_there_or_by_option(tmp_path):
    root = dfew_tree(tmp_path, form="original")
    assert read_benchmark("dfew", root).clip(0).path.name == "00005.mp4"
    write_clip(root / "Clip/clip_224x224/00005", 5)
    assert read_benchmark("dfew", root).clip(0).path == root / "Clip/clip_224x224/00005"
    assert read_benchmark("dfew", root, form="video").clip(0).path.name == "00005.mp4"
    with pytest.raises(InputError, match="expected Clip/clip_224x224_16f"):
        read_benchmark("dfew", root, form="frames_16")
    with pytest.raises(InputError, match="form 'pictures' of benchmark dfew: expected auto or frames or"):
        read_benchmark("dfew", root, form="pictures")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("test(single-labeled)/set_1.csv", "video_name,label\n5,8\n", "line 2: unknown label 8"),
        ("test(single-labeled)/set_1.csv", "video_name,label\n5,0\n10,7\n", "line 3: label 7 in a list with a label 0"),
        (
            "test(single-labeled)/set_1.csv",
            "Action/Sad/0010 Sad\n",
            "line 1: 'Action/Sad/0010 Sad' is not a line of DFEW",
        ),
        ("test(single-labeled)/set_1.csv", "video_name,label\n5,5\n5,5\n", "line 3: duplicate clip 5, first in line 2"),
        ("test(single-labeled)/set_1.csv", "video_name,label\n1,1\n", "clip 00001 is tested in fold 2 and in fold 1"),
        (
            "train(single-labeled)/set_1.csv",
            "video_name,label\n5,5\n",
            "clip 00005 is trained on in fold 1, which also",
        ),
        ("train(single-labeled)/set_1.csv", "video_name,label\n1,7\n", "are lists of two releases mixed?"),
    ],
)
def test_dfew_names_the_line_that_contradicts(tmp_path, name, text, expected):
    root = dfew_tree(tmp_path)
    (root / "EmoLabel_DataSplit" / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_benchmark("dfew", root)
    assert expected in str(error.value)
    assert ".csv line " in str(error.value)


def cut_lines(path, first, last):
    """Take lines of a list, counted from 1 below its header, out of it and return them below its header."""
    header, *lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, *lines[: first - 1], *lines[last:]]))
    return "".join([header, *lines[first - 1 : last]])


def roles_of(manifest, fold, numbers):
    by_number = {int(path[-5:]): role for path, role in zip(manifest.table["path"], manifest.roles(fold), strict=True)}
    return [by_number[number] for number in numbers]


def test_dfew_clips_that_a_fold_omits_are_not_used_in_it(tmp_path):
    root = dfew_tree(tmp_path)
    cut_lines(root / "EmoLabel_DataSplit/train(single-labeled)/set_1.csv", 1, 3)  # clips 1, 2 and 3
    manifest = prepare("dfew", root, tmp_path / "dfew.csv")
    for clips in (manifest, Manifest.read(tmp_path / "dfew.csv")):
        assert roles_of(clips, 1, [1, 2, 3, 4, 5]) == ["", "", "", "train", "test"]
        assert roles_of(clips, 2, [1, 2, 3, 4, 5]) == ["test", "train", "train", "train", "train"]
        assert [tuple(map(len, clips.splits(fold))) for fold in (1, 2, 5)] == [(9, 0, 2), (11, 0, 3), (11, 0, 3)]
    assert "fold 1 uses 11 of 14 clips: its lists omit the others, which only other folds use" in manifest.notes
    assert not any(note.startswith("fold 2") for note in manifest.notes)


def test_dfew_lists_of_validation_clips_validate(tmp_path):
    root = dfew_tree(tmp_path, first_label=0, official=False)
    for fold in range(1, 6):
        path = root / f"EmoLabel_DataSplit/train_set_{fold}.csv"
        path.with_name(f"val_set_{fold}.csv").write_text(cut_lines(path, 1, 4))
    manifest = read_benchmark("dfew", root)
    assert roles_of(manifest, 1, range(1, 7)) == ["val", "val", "val", "val", "test", "train"]
    assert {len(manifest.splits(fold)[1]) for fold in manifest.folds} == {4}
    assert manifest.notes == ("the labels of the lists count from 0",)
    path.with_name("val_set_5.csv").write_text("video_name,label\n4,3\n")
    with pytest.raises(
        InputError, match=r"val_set_5.csv line 2: clip 00004 is validated on in fold 5, which also tests it"
    ):
        read_benchmark("dfew", root)
    path.with_name("val_set_5.csv").write_text("video_name,label\n6,5\n")
    with pytest.raises(
        InputError, match=r"clip 00006 is trained on in fold 5, which also validates on it .*val_set_5.csv"
    ):
        read_benchmark("dfew", root)


@pytest.mark.parametrize("official", [True, False])
def test_dfew_lists_of_validation_clips_that_repeat_the_test_or_lie_beside_the_release_change_nothing(
    tmp_path, official
):
    root = dfew_tree(tmp_path, official=official)
    before = read_benchmark("dfew", root)
    for fold in range(1, 6):
        test = f"test(single-labeled)/set_{fold}.csv" if official else f"test_set_{fold}.csv"
        text = "video_name,label\n6,6\n" if official else (root / "EmoLabel_DataSplit" / test).read_text()
        (root / f"EmoLabel_DataSplit/val_set_{fold}.csv").write_text(text)
    assert read_benchmark("dfew", root).table.equals(before.table)
    assert before.fold_columns == {}


def test_dfew_lists_of_validation_clips_test_where_there_are_no_test_lists(tmp_path):
    root = dfew_tree(tmp_path, official=False)
    for path in (root / "EmoLabel_DataSplit").glob("test_set_*.csv"):
        path.rename(path.with_name(path.name.replace("test", "val")))
    assert [tuple(map(len, read_benchmark("dfew", root).splits(fold))) for fold in (1, 2)] == [(12, 0, 2), (11, 0, 3)]


@pytest.mark.parametrize("other", ["3.mp4", "part_2/0003"])
def test_two_clips_of_one_number_are_refused(other, tmp_path):
    root = dfew_tree(tmp_path)
    write_clip(root / "Clip/clip_224x224" / other, 30)
    with pytest.raises(InputError, match=r"clip '00003' may be 00003 or \S+: keep one of them"):
        read_benchmark("dfew", root)


def test_clips_of_one_number_that_no_list_names_are_not_in_the_way(tmp_path):
    root = dfew_tree(tmp_path)
    for name in ("99", "099"):
        write_clip(root / "Clip/clip_224x224" / name, 30)
    assert len(read_benchmark("dfew", root)) == 14
