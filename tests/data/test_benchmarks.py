"""Readers of the released layouts: right paths, labels by name, right folds; wrong layouts are named."""

import re

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
    hmdb51_tree,
    mafw_tree,
    ravdess_tree,
    ucf101_tree,
    write_clip,
)


def labels_by_path(manifest):
    return dict(zip(manifest.table["path"], manifest.table["label"], strict=True))


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
    assert manifest.notes == ("1 files known to be broken are skipped: 1076_MTI_NEU_XX",)
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
    ],
)
def test_a_list_of_actions_that_cannot_be_meant_is_named_with_its_line(tmp_path, name, tree, path, line, expected):
    tree(tmp_path, classes=2)
    (tmp_path / path).write_text(f"{line}\n")
    with pytest.raises(InputError, match=re.escape(expected)):
        read_benchmark(name, tmp_path)


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
