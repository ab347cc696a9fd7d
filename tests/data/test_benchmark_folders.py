"""Clips of one's own: folders per class and files named after their class are read; what cannot be meant is named."""

import os

import pytest

from peclip.data.benchmarks import read_benchmark
from peclip.errors import InputError
from peclip.train.runs.shards import shardable_digest
from tests.trees import write_clip


def test_a_folder_per_class_in_natural_order(tmp_path):
    for number, name in enumerate(("happy/10.mp4", "happy/2.mp4", "happy/clip3", "boredom/a.mp4")):
        write_clip(tmp_path / name, number)
    (tmp_path / "happy/notes.txt").write_text("not a clip")
    (tmp_path / "happy/.hidden.mp4").write_text("not a clip")
    manifest = read_benchmark("folders", tmp_path)
    assert list(manifest.table["path"]) == ["boredom/a.mp4", "happy/2.mp4", "happy/10.mp4", "happy/clip3"]
    assert manifest.labels == ["happiness", "boredom"]
    assert [len(part) for part in manifest.splits()] == [4, 0, 0]


def test_class_folders_within_splits(tmp_path):
    for number, name in enumerate(("train/happy/1.mp4", "Validation/sad/2.mp4", "test/sad/3.mp4", "test/happy/4.mp4")):
        write_clip(tmp_path / name, number)
    train, val, test = read_benchmark("folders", tmp_path).splits()
    assert [list(part.table["path"]) for part in (train, val, test)] == [
        ["train/happy/1.mp4"],
        ["Validation/sad/2.mp4"],
        ["test/happy/4.mp4", "test/sad/3.mp4"],
    ]
    write_clip(tmp_path / "happy/5.mp4", 5)
    with pytest.raises(InputError, match=r"happy: is beside the folder"):
        read_benchmark("folders", tmp_path)


def test_clips_named_after_their_class(tmp_path):
    names = ("angry.mp4", "Happy_01.mp4", "02-sadness.mp4", "fear_3")
    for number, name in enumerate(names):
        write_clip(tmp_path / name, number)
    expected = {"angry.mp4": "anger", "Happy_01.mp4": "happiness", "02-sadness.mp4": "sadness", "fear_3": "fear"}
    manifest = read_benchmark("folders", tmp_path)
    assert dict(zip(manifest.table["path"], manifest.table["label"], strict=True)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["interview.mp4"], "interview.mp4: the file's name holds no known expression"),
        (["happy_or_sad.mp4"], "holds happiness and sadness"),
        (["happy/1.mp4", "sad.mp4"], "sad.mp4: a clip beside class folders"),
        (["happy/1.mp4", "sad/"], "sad: the class folder is empty"),
        (["happy/1.mp4", "sad/deep/1.mp4"], "deep/1.mp4: too deep"),
        (["train/"], "train: nothing to read"),
    ],
)
def test_folders_that_cannot_be_meant_are_named(tmp_path, names, expected):
    for number, name in enumerate(names):
        if name.endswith("/"):
            (tmp_path / name).mkdir(parents=True)
        else:
            write_clip(tmp_path / name, number)
    with pytest.raises(InputError) as error:
        read_benchmark("folders", tmp_path)
    assert expected in str(error.value)


def test_a_folder_with_nothing_readable_says_what_is_expected(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(InputError, match="nothing to read, expected a folder per class or video files"):
        read_benchmark("folders", tmp_path)


def test_a_file_whose_name_is_not_utf8_is_a_clip_like_any_other(tmp_path):
    write_clip(tmp_path / "happy/1.mp4", 1)
    name = os.fsdecode(b"happy/\xe9.mp4")
    (tmp_path / "happy/1.mp4").rename(tmp_path / name)
    manifest = read_benchmark("folders", tmp_path)
    assert manifest.clip(0).path == tmp_path / name
    assert manifest.clip(0).path.exists()
    with pytest.raises(InputError, match="the name of a clip is not UTF-8, which shards need: rename it"):
        shardable_digest(manifest)
