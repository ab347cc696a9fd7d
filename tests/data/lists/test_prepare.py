"""Lists as public repositories pass them on become manifests: their clips found, their labels named, or one line why not."""

import pytest

from peclip.data.lists.prepare import prepare_list
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from tests.data.lists.written import NAMES, OLD, clips, listed, rows
from tests.runs import run
from tests.trees import write_clip


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD}/00001 35 0\n{OLD}/00002 16 6\n",
        f"{OLD}/00001 0\n{OLD}/00002 6\n",
        f"{OLD}/1 0\n\n  {OLD}/2   6  \n",
        f"{OLD}/00001.mp4,0\r\n{OLD}/00002.mp4,6\r\n",
        "path,id\nframes/00001,0\nframes/00002,6\n",
        "video_name,label\n1,0\n2,6\n",
        "label;video_name\n0;1\n6;2\n",
        "emotion,video_name,frames\n0.0,00001,16\n6.0,00002,16\n",
        "path\tlabel\r\n00001\t0\r\n00002\t6\r\n".encode("utf-16"),
        f"\ufeff{OLD}/00001 35 0\r{OLD}/00002 16 6\r",
        "D:\\KmuProj2\\DFEW\\frames\\00001 35 0\nD:\\KmuProj2\\DFEW\\frames\\00002 16 6\n",
        "F:/DFEW/frames/00001 0\nF:/DFEW/frames/00002 6\n",
        "\\\\server\\share\\frames\\00001;0\n\\\\server\\share\\frames\\00002;6\n",
        "./frames//00001 1\nframes/00002 7\n",
        "00001 happy\n00002 Fear\n",
        "frames/00001\thappiness\t他笑\tHe smiles.\nframes/00002\tfear\t他\tHe\n",
    ],
    ids=[
        *("path frames label", "path label", "no zeros, blanks", "commas, suffixes", "path,id", "dfew", "label first"),
        *(
            "floats",
            "utf-16, tabs",
            "mark and old line ends",
            "windows",
            "drive",
            "server",
            "from 1",
            "names",
            "captions",
        ),
    ],
)
def test_every_form_of_a_list_is_read_alike(frames, text):
    manifest = prepare_list([listed(frames / "a.txt", text)], frames, NAMES)
    assert rows(manifest, "label") == [("frames/00001", "happiness"), ("frames/00002", "fear")]


def test_the_notes_say_what_was_taken(frames):
    path = listed(frames / "b.txt", f"{OLD}/00001 35 1\n{OLD}/00002 16 2\n{OLD}/00009 16 2\n")
    assert prepare_list([path], frames, "happiness,fear").notes == (
        f"{path}: 3 training clips; a list PATH FRAMES LABEL without a header",
        f"{path}: 1 of these clips are missing, the first is that of {path} line 3",
        f"clips in {frames}/frames, named {OLD} in the list",
        "the labels count from 1: 1 happiness, 2 fear",
    )


def test_a_clip_says_its_line(frames):
    path = listed(frames / "b.csv", "video_name,label\n\n1,1\n")
    assert prepare_list([path], frames, "sad,fear", first_label=0).clip(0).where == "b.csv line 3"


def test_clips_by_another_suffix_are_found(tmp_path):
    clips(tmp_path, "clips/00025.mp4", "clips/00028.avi", "clips/00028.wav", "clips/00030")
    path = listed(tmp_path / "train.txt", "00025 anger\n28.mp4 fear\n00030.mp4 fear\n")
    names = ["clips/00025.mp4", "clips/00028.avi", "clips/00030"]
    assert list(prepare_list([path], tmp_path).table["path"]) == names


# --- splits and folds ---


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("DFEW_set_1_train.txt", "DFEW_set_1_test.txt"),
        ("split01/train.csv", "split01/test.csv"),
        ("train/1.csv", "test/1.csv"),
    ],
)
def test_lists_are_for_what_their_names_say(frames, train, test):
    files = [listed(frames / train, "00001 0\n00002 1\n"), listed(frames / test, "00003 2\n")]
    manifest = prepare_list(files, frames, "dfew")
    assert [split for _, split in rows(manifest, "split")] == ["train", "train", "test"]
    assert [len(part) for part in manifest.splits()] == [2, 0, 1]


def test_lists_are_for_what_the_options_say(frames):
    files = [
        listed(frames / "lists" / name, f"{number:05d} 0\n")
        for number, name in enumerate(("a", "latest", "val"), start=1)
    ]
    with pytest.raises(
        InputError, match=r"a: neither this name nor that of its folder says .*: name the lists of test clips"
    ):
        prepare_list(files, frames, "dfew")
    manifest = prepare_list(files[:1], frames, "dfew", test=files[2:], val=files[1:2])
    assert [split for _, split in rows(manifest, "split")] == ["train", "val", "test"]


def test_a_clip_in_two_lists_is_refused(frames):
    train, test = listed(frames / "train.txt", "00001 0\n00002 1\n"), listed(frames / "test.txt", "00002 1\n")
    with pytest.raises(InputError, match=r"test.txt line 1: clip frames/00002 is also in train.txt line 2"):
        prepare_list([train], frames, "dfew", test=[test])
    with pytest.raises(InputError, match=r"c.txt line 3: duplicate clip frames/00001, first in line 1"):
        prepare_list([listed(frames / "c.txt", "00001 0\n00002 0\n1 1\n")], frames, "dfew")


def folds(folder, leak=False):
    """Lists of three folds over the clips 1 to 6."""
    test = {fold: {fold, fold + 3} for fold in (1, 2, 3)}
    train = {fold: {1, 2, 3, 4, 5, 6} - test[fold] for fold in test}
    if leak:
        train[2] = train[2] - {1}
    lists = {"train": train, "test": test}
    return {
        part: [
            listed(folder / f"set_{fold}_{part}.txt", "".join(f"{n:05d} {n % 7}\n" for n in sorted(of[fold])))
            for fold in (1, 2, 3)
        ]
        for part, of in lists.items()
    }


def test_training_and_test_lists_of_all_folds_become_folds(frames):
    lists = folds(frames)
    for files, test in ((lists["train"], lists["test"][::-1]), (lists["train"] + lists["test"], ())):
        manifest = prepare_list(files, frames, "dfew", test=test, first_label=0)
        assert dict(rows(manifest, "fold")) == {f"frames/{n:05d}": (n - 1) % 3 + 1 for n in range(1, 7)}
        assert [len(part) for part in manifest.splits(2)] == [4, 0, 2]


def test_lists_that_are_not_the_folds_of_one_cross_validation_are_refused(frames):
    lists = folds(frames, leak=True)
    with pytest.raises(
        InputError, match=r"set_2_train.txt with .*set_2_test.txt neither trains on nor tests frames/00001"
    ):
        prepare_list(lists["train"], frames, "dfew", test=lists["test"], first_label=0)
    lists = folds(frames)
    with pytest.raises(InputError, match=r"set_2_test.txt line 1: clip frames/00002 is also in set_1_train.txt line 1"):
        prepare_list(lists["train"][:1], frames, "dfew", test=lists["test"][1:2], first_label=0)
    listed(lists["train"][0], "00002 3\n00003 3\n00005 5\n00006 6\n")
    with pytest.raises(
        InputError, match=r"set_1_train.txt line 1: clip frames/00002 is anger, but neutral in set_2_test.txt line 1"
    ):
        prepare_list(lists["train"], frames, "dfew", test=lists["test"], first_label=0)


def test_lists_of_several_scenes_are_joined(tmp_path):
    clips(tmp_path, "Action/Sad/0001", "War/Sad/0001", "Action/Sad/0002", "War/Sad/0002")
    train = [listed(tmp_path / f"train_{scene}.csv", f"{scene}/Sad/0001 Sad\n") for scene in ("Action", "War")]
    test = [listed(tmp_path / f"test_{scene}.csv", f"{scene}/Sad/0002 Sad\n") for scene in ("Action", "War")]
    assert [len(part) for part in prepare_list(train, tmp_path, test=test).splits()] == [2, 0, 2]


# --- lists that cannot be read ---


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a list of clips, expected lines PATH FRAMES LABEL, .*; it is empty"),
        ("path,id\n", "the list is empty, it has a header and no clip"),
        ("a b c d e\nf\n", "not a list of clips, .*; it begins with 'a b c d e'"),
        ("00001 0\n" * 60 + "00002\n", "line 61: '00002' is not a line of a list PATH LABEL without a header"),
        ("path,id\n00001,0\n00002\n", "line 3: '00002' is not a line of a list path,id with a header"),
        ("path,id\n00001,0\n00002,\n", "line 3: '00002,' is not a line of a list path,id with a header"),
        (f"00001 {'9' * 5000}\n", "not a list of clips"),
        (b"\xc4\xe3 3\n", "line 1: not UTF-8 text"),
    ],
)
def test_what_is_no_list_is_one_line(frames, text, says):
    with pytest.raises(InputError, match=says) as error:
        prepare_list([listed(frames / "l.txt", text)], frames, "dfew")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["Split", "fold", "start", "END", "subject", "fold_2", "P_happy"])
def test_a_manifest_is_refused_before_its_columns_are_lost(frames, column):
    with pytest.raises(
        InputError, match=f"line 1: column '{column.lower()}' is not one of a list, and would be lost: .*"
    ):
        prepare_list([listed(frames / "l.csv", f"Path,Label,{column}\n00001,happy,1\n")], frames)


def test_columns_that_are_not_read_are_named(frames):
    manifest = prepare_list([listed(frames / "l.csv", "video,age,emotion,set\n00001,30,happy,a\n")], frames)
    assert manifest.notes[0].endswith("a list video,age,emotion,set with a header; not read: 'age', 'set'")


# --- the command ---


def test_the_command_makes_a_manifest_that_is_fit_to_train_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(1, 7):
        write_clip(tmp_path / "data/frames" / f"{number:05d}", number)
    lists = folds(tmp_path)
    result = run(
        *("prepare", "list", *lists["train"], "--test", *lists["test"], "--labels", "dfew", "--first-label", 0),
        *("--root", "data", "--out", "data/all.csv"),
    )
    assert result.status == 0, result.err
    assert "6 clips of 6 classes: data/all.csv" in result.out
    assert "the labels count from 0: 0 happiness, 1 sadness" in result.out
    assert "folds by the lists of test clips: fold 1 set_1_test.txt, fold 2 set_2_test.txt" in result.out
    manifest = Manifest.read("data/all.csv")
    assert not len(manifest.missing())
    assert manifest.folds == [1, 2, 3]


def test_the_command_that_an_error_names_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips(tmp_path, "frames/00001", "frames/00002")
    listed(tmp_path / "train (1).txt", f"{OLD}/00001 35 0\n{OLD}/00002 16 1\n")
    for command in (["check"], ["pack", "--out", "packed"]):
        error = run(command[0], "train (1).txt", *command[1:]).err
        assert error.count("\n") == 1
        assert (
            "a list PATH FRAMES LABEL without a header: peclip prepare list 'train (1).txt' --labels NAMES --root DIR"
            in error
        )
    assert not (tmp_path / "packed").exists()
    result = run("prepare", "list", "train (1).txt", "--labels", "dfew", "--root", ".", "--out", "NEW.csv")
    assert result.status == 0, result.err
    assert run("prepare", "list", "train (1).txt", "--root", ".", "--out", "no.csv").status == 2
    before = (tmp_path / "train (1).txt").read_text()
    same = run("prepare", "list", "train (1).txt", "--labels", "dfew", "--root", ".", "--out", "./train (1).txt")
    assert "out ./train (1).txt is one of the lists: name another file" in same.err
    assert (tmp_path / "train (1).txt").read_text() == before
    assert not (tmp_path / "no.csv").exists()
