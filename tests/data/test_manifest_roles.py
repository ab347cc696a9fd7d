"""Splits and folds of a manifest: which clips train, validate and test."""

import re

import pytest

from peclip.data.manifest import Manifest
from peclip.errors import InputError
from tests.data.test_manifest import paths, write


def test_rows_without_split_and_fold_are_for_training(tmp_path):
    train, val, test = Manifest.read(write(tmp_path, "path,label\na,happy\nb,sad\n")).splits()
    assert (len(train), len(val), len(test)) == (2, 0, 0)


def test_splits_go_by_name(tmp_path):
    text = "path,label,split\na,happy,train\nb,sad,validation\nc,sad,Test\nd,fear,\n"
    assert [paths(part) for part in Manifest.read(write(tmp_path, text)).splits()] == [["a", "d"], ["b"], ["c"]]


def test_a_fold_tests_its_clips_and_trains_on_the_others(tmp_path):
    text = "path,label,split,fold\na,happy,,1\nb,sad,,2\nc,sad,val,\nd,fear,,3\ne,fear,,\nf,fear,test,\n"
    train, val, test = Manifest.read(write(tmp_path, text)).splits(fold=2)
    assert (paths(train), paths(val), paths(test)) == (["a", "d", "e"], ["c"], ["b", "f"])
    assert test.clip(0).where == "clips.csv line 3"


def test_folds_must_be_chosen_and_exist(tmp_path):
    folds = Manifest.read(write(tmp_path, "path,label,fold\na,happy,1\nb,sad,3\n"))
    with pytest.raises(InputError, match=r"has folds 1, 3: choose the one to test on with fold"):
        folds.splits()
    with pytest.raises(InputError, match=r"fold 2 does not exist: .*has folds 1, 3"):
        folds.splits(2)
    with pytest.raises(InputError, match=r"fold 1 does not exist: .*has no folds"):
        Manifest.read(write(tmp_path, "path,label\na,happy\n")).splits(1)


def test_folds_beside_splits_may_be_ignored(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label,split,fold\na,happy,train,1\nb,sad,test,2\n"))
    assert [paths(part) for part in manifest.splits()] == [["a"], [], ["b"]]
    assert [paths(part) for part in manifest.splits(1)] == [["b"], [], ["a"]]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (
            "path,label,fold_1,fold_2",
            "a.mp4,x,train,practice",
            "line 2: fold_2 is 'practice', expected train, val, test, or nothing",
        ),
        ("path,label,fold,fold_1", "a.mp4,x,1,train", "line 1: columns 'fold' and 'fold_1' both state the folds"),
        ("path,label,fold_0", "a.mp4,x,train", "line 1: unknown column 'fold_0'"),
    ],
)
def test_roles_of_folds_that_cannot_be_meant_are_named(tmp_path, header, row, expected):
    (tmp_path / "m.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError, match=re.escape(expected)):
        Manifest.read(tmp_path / "m.csv")


def test_each_fold_may_state_its_own_roles(tmp_path):
    text = "path,label,fold_1,fold_2\na.mp4,x,train,\nb.mp4,x,test,Training\nc.mp4,x,validation,test\n"
    (tmp_path / "m.csv").write_text(text)
    manifest = Manifest.read(tmp_path / "m.csv")
    assert manifest.folds == [1, 2]
    assert [list(manifest.roles(fold)) for fold in (1, 2)] == [["train", "test", "val"], ["", "train", "test"]]
    assert [[*part.table["path"]] for part in manifest.splits(2)] == [["b.mp4"], [], ["c.mp4"]]
    manifest.write(tmp_path / "again.csv")
    again = Manifest.read(tmp_path / "again.csv")
    assert [list(again.roles(fold)) for fold in (1, 2)] == [list(manifest.roles(fold)) for fold in (1, 2)]
    with pytest.raises(InputError, match="choose the one to test on with fold"):
        manifest.splits()
