"""Lists as public repositories pass them on become manifests: their clips found, their labels named, or one line why not."""

import pytest

from peclip.data.lists.prepare import prepare_list
from peclip.data.manifest import Manifest
from peclip.errors import InputError
from peclip.labels import SEVEN
from tests.runs import run
from tests.trees import write_clip

NAMES = ",".join(SEVEN)


def clips(root, *names):
    """Empty clips: finding them needs only their names."""
    for name in names:
        path = root / name
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True, exist_ok=True)
    return root


def listed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(manifest, *columns):
    return list(zip(*(manifest.table[column] for column in ("path", *columns)), strict=True))


@pytest.fixture
def frames(tmp_path):
    return clips(tmp_path, *(f"frames/{number:05d}" for number in range(1, 9)))


OLD = "/home/someone/datasets/frames"


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


# --- numbers ---


def test_numbers_need_names(frames):
    path = listed(frames / "b.txt", "00001 3\n00002 6\n")
    with pytest.raises(
        InputError, match=r"the labels are numbers \(3 to 6\): name them in their order with labels hap"
    ):
        prepare_list([path], frames)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (
            "fer",
            "labels is 'fer', expected names in the order of their numbers .*, or the order of one of dfew, ferv39k",
        ),
        ("happy,sad,happiness", "duplicate label 'happiness'"),
        ("happy,,sad", "'' is not a class name"),
        ("happy,sad", r"b.txt line 3: label 4, but 2 names from 0 on go to 1: happiness, sadness"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(frames, labels, says):
    path = listed(frames / "b.txt", "00001 0\n00002 1\n00003 4\n")
    with pytest.raises(InputError, match=says):
        prepare_list([path], frames, labels)


def test_orders_of_benchmarks_have_names(frames):
    path = listed(frames / "b.txt", "00001 0\n00002 10\n")
    for order, first, last in (
        ("mafw", "anger", "disappointment"),
        ("mafw_s2d", "anger", "surprise"),
        ("MAFW_DFERCLIP", "happiness", "disappointment"),
    ):
        assert [label for _, label in rows(prepare_list([path], frames, order), "label")] == [first, last]


def test_whether_numbers_count_from_0_or_from_1_is_never_guessed(frames):
    path = listed(frames / "b.txt", "00001 1\n00002 2\n")
    with pytest.raises(
        InputError, match=r"the labels go from 1 to 2, with 7 names: do they count from 0 or from 1\? set first"
    ):
        prepare_list([path], frames, "dfew")
    assert rows(prepare_list([path], frames, "dfew", first_label=1), "label")[0][1] == "happiness"
    assert rows(prepare_list([path], frames, "dfew", first_label=0), "label")[0][1] == "sadness"
    beside = listed(frames / "test.txt", "00003 0\n")
    assert rows(prepare_list([path], frames, "dfew", test=[beside]), "label")[0][1] == "sadness"
    other = listed(frames / "test.txt", "00003 7\n")
    assert rows(prepare_list([path], frames, "dfew", test=[other]), "label")[0][1] == "happiness"


def test_lists_that_count_differently_are_refused(frames):
    one, other = listed(frames / "train.txt", "00001 0\n"), listed(frames / "test.txt", "00002 3\n00003 7\n")
    with pytest.raises(InputError, match=r"train.txt line 1 has label 0, and .*test.txt line 2 label 7 of 7 names"):
        prepare_list([one], frames, "dfew", test=[other])
    with pytest.raises(InputError, match=r"line 3: label 'sad' among numbers"):
        prepare_list([listed(frames / "c.csv", "path,label\n00001,3\n00002,sad\n")], frames, "dfew")


def test_an_order_that_the_paths_contradict_is_refused_with_that_of_the_paths(tmp_path):
    names = ["Action/Angry/0001", "Action/Happy/0002", "War/Sad/0003"]
    clips(tmp_path, *(f"faces/{name}" for name in names))
    path = listed(
        tmp_path / "test.csv", "path,id\n" + "".join(f"{n},{y}\n" for n, y in zip(names, (0, 3, 5), strict=True))
    )
    with pytest.raises(InputError, match=r"line 2: label 0 is happiness in this order, but anger by the path") as error:
        prepare_list([path], tmp_path, "ferv39k")
    assert str(error.value).endswith("by the paths the numbers are 0 anger, 3 happiness, 5 sadness")
    assert [label for _, label in rows(prepare_list([path], tmp_path, "ferv39k_s2d"), "label")] == [
        "anger",
        "happiness",
        "sadness",
    ]


def test_paths_that_name_expressions_show_where_numbers_begin(tmp_path):
    names = ["1018_WSI_DIS_XX", "1018_WSI_FEA_XX"]
    clips(tmp_path, *(f"VideoFlash/{name}.flv" for name in names))
    path = listed(
        tmp_path / "test.csv", "".join(f"/mnt/face_aligned/{n} {y}\n" for n, y in zip(names, (2, 3), strict=True))
    )
    manifest = prepare_list([path], tmp_path, "cremad")
    assert rows(manifest, "label") == [
        ("VideoFlash/1018_WSI_DIS_XX.flv", "disgust"),
        ("VideoFlash/1018_WSI_FEA_XX.flv", "fear"),
    ]
    assert manifest.notes[-1].startswith("the labels count from 1: 1 anger, 2 disgust")
    assert manifest.table["subject"].tolist() == ["1018", "1018"]


def test_names_outside_the_order_are_refused(frames):
    path = listed(frames / "b.txt", "00001 happy\n00002 bored\n")
    with pytest.raises(InputError, match=r"line 2: label 'bored' is none of happiness, sadness"):
        prepare_list([path], frames, "dfew")
    assert rows(prepare_list([path], frames), "label")[1][1] == "bored"


# --- where the clips are ---


@pytest.mark.parametrize("root", ["", "DFEW", "DFEW/Clip", "DFEW/Clip/jpg_256"])
def test_the_root_may_be_any_folder_above_the_clips(tmp_path, root):
    clips(tmp_path, "DFEW/Clip/jpg_256/02522", "DFEW/Clip/jpg_256/02536", "other/x")
    path = listed(
        tmp_path / "l.csv",
        "/mnt/data1/brain/AC/DFEW/Clip/jpg_256/02522 5\n/mnt/data1/brain/AC/DFEW/Clip/jpg_256/02536 0\n",
    )
    manifest = prepare_list([path], tmp_path / root, "dfew")
    assert manifest.clip(1).path == tmp_path / "DFEW/Clip/jpg_256/02536"


def test_clips_that_are_found_in_two_ways_need_the_option(tmp_path):
    clips(tmp_path, "frames/00001", "00001", "00002", "frames/00002")
    path = listed(tmp_path / "l.txt", f"{OLD}/00001 0\n{OLD}/00002 1\n")
    with pytest.raises(
        InputError, match=rf"found in two ways: set drop 3 \({tmp_path}/frames\) or drop 4 \({tmp_path}\)"
    ):
        prepare_list([path], tmp_path, "dfew")
    assert prepare_list([path], tmp_path, "dfew", drop=3).clip(0).path == tmp_path / "frames/00001"
    assert prepare_list([path], tmp_path, "dfew", drop=4).clip(0).path == tmp_path / "00001"
    with pytest.raises(InputError, match=r"l.txt line 1: no such clip: .*datasets/frames/00001"):
        prepare_list([path], tmp_path, "dfew", drop=2)
    with pytest.raises(InputError, match=r"l.txt line 1: drop is 5, but the path has 5 parts"):
        prepare_list([path], tmp_path, "dfew", drop=5)
    with pytest.raises(InputError, match="drop is -1, expected at least 0"):
        prepare_list([path], tmp_path, "dfew", drop=-1)
    with pytest.raises(InputError, match="first_label is 2, expected 0 or 1"):
        prepare_list([path], tmp_path, "dfew", first_label=2)


def test_names_in_two_folders_are_refused_unless_one_is_that_of_the_list(tmp_path):
    clips(tmp_path, "Clip/clip_224x224/00001", "Clip/clip_224x224_16f/00001")
    bare = listed(tmp_path / "l.csv", "00001,0\n")
    with pytest.raises(
        InputError, match=rf"are in {tmp_path}/Clip/clip_224x224 and in {tmp_path}/Clip/clip_224x224_16f: name"
    ):
        prepare_list([bare], tmp_path, "dfew")
    named = listed(tmp_path / "l.txt", "/x/clip_224x224_16f/00001 16 0\n")
    assert prepare_list([named], tmp_path, "dfew").clip(0).path == tmp_path / "Clip/clip_224x224_16f/00001"


def test_a_clip_with_two_files_is_refused(tmp_path):
    clips(tmp_path, "00001.mp4", "00001.avi")
    with pytest.raises(InputError, match=r"00001 may be 00001.avi or 00001.mp4; keep one"):
        prepare_list([listed(tmp_path / "l.csv", "00001,0\n")], tmp_path, "dfew")


def test_where_no_clip_is_found_the_first_path_is_named(tmp_path):
    path = listed(tmp_path / "l.txt", f"{OLD}/00001 0\n")
    with pytest.raises(
        InputError, match=rf"l.txt line 1: no clip of this list is below {tmp_path}: expected home/someone/"
    ):
        prepare_list([path], tmp_path, "dfew")
    with pytest.raises(InputError, match="no such folder"):
        prepare_list([path], tmp_path / "none", "dfew")


def test_a_path_may_not_leave_the_root(frames):
    for name in ("../frames/00001", "frames/../../00001", "/"):
        with pytest.raises(InputError, match=r"l.csv line 1: .* is not the path of a clip"):
            prepare_list([listed(frames / "l.csv", f"{name},0\n")], frames, "dfew")


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
