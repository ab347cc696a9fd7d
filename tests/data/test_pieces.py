"""Pieces of one video are kept together where some of the clips validate."""

import pandas as pd
import pytest

from peclip.data import pack as packing
from peclip.data.manifest import Manifest
from peclip.data.pack import Packing, pack
from peclip.data.source import check_subjects, split_source
from peclip.data.subjects import with_videos
from peclip.errors import InputError
from peclip.inference import face_clips
from peclip.inference.face_clips import Cropping, crop_faces


def pieces(tmp_path, videos, each, **columns):
    """A manifest of so many pieces of each of some videos; of their labels one video shows one."""
    rows = [
        (f"{video}.mp4", ("happiness", "sadness")[video % 2], n / 2) for video in range(videos) for n in range(each)
    ]
    frame = pd.DataFrame(rows, columns=["path", "label", "start"]).assign(**columns)
    return Manifest(frame.assign(end=frame["start"] + 1), source=tmp_path / "clips.csv", root=tmp_path)


def test_pieces_of_one_video_are_trained_on_or_validated_on(tmp_path):
    splits = split_source(pieces(tmp_path, videos=20, each=5), None, 0.2, seed=0)
    assert not {*splits.train.table["path"]} & {*splits.val.table["path"]}
    assert splits.val.table["label"].value_counts().to_dict() == {"happiness": 10, "sadness": 10}
    splits = split_source(pieces(tmp_path, videos=20, each=5, subject=["a"] * 50 + [""] * 50), None, 0.2, seed=0)
    assert not {*splits.train.table["path"]} & {*splits.val.table["path"]}


def test_pieces_of_the_only_video_of_a_class_say_what_to_set(tmp_path):
    for videos, why in ((1, "the only video is '0.mp4'"), (2, "each is the only one of some class")):
        with pytest.raises(
            InputError, match=f"no video can be held out for validation: {why}; .* set val to 0 or test$"
        ):
            split_source(pieces(tmp_path, videos, each=4), None, 0.1, seed=0)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"subject": ["a"] * 20 + [""] * 80},
        {"subject": (["a"] + [""] * 4) * 20},
        {"split": ["train"] * 77 + ["test"] * 23},
        {"fold": [1] * 50 + [2] * 50},
        {"fold_1": ["test"] * 50 + ["train"] * 50, "fold_2": ["train"] * 50 + [""] * 50},
    ],
)
def test_pieces_with_files_of_their_own_divide_as_those_of_the_videos(columns, tmp_path):
    raw = pieces(tmp_path, videos=20, each=5, **columns)
    files = with_files_of_their_own(raw)
    for fold in raw.folds or [None]:
        assert sides(files, fold) == sides(raw, fold)
        try:
            check_subjects(raw, fold, 0.2)
        except InputError:
            continue
        check_subjects(files, fold, 0.2)


@pytest.mark.parametrize(
    "columns",
    [
        {"split": ["train", "train", "val", "test", "test"] * 4},
        {"fold": [1, 2, 3, 1, 2] * 4},
        {"fold": [1, 2, 3, 1, 2] * 4, "split": ["train", "test", "val", "", "train"] * 4},
        {"fold_1": ["train", "test", "val", "", "train"] * 4, "fold_2": ["test", "train", "", "val", "train"] * 4},
    ],
)
def test_a_video_on_two_sides_is_not_refused_as_files_of_its_pieces(columns, tmp_path):
    raw = pieces(tmp_path, videos=4, each=5, **columns)
    files = with_files_of_their_own(raw)
    for fold in raw.folds or [None]:
        check_subjects(files, fold, 0.1)


def with_files_of_their_own(clips):
    """The manifest that is written of clips, each in a file of its own."""
    rows = clips.table[clips.facts].assign(path=[f"{n}.avi" for n in range(len(clips))], subject=with_videos(clips))
    return Manifest(rows, clips.source, clips.root)


def test_packed_pieces_and_their_crops_divide_as_those_of_the_videos(tmp_path, monkeypatch):
    raw = pieces(tmp_path, videos=20, each=5)
    monkeypatch.setattr(packing, "_encode", lambda *_: [b"JPEG"])
    monkeypatch.setattr(face_clips, "YuNet", lambda _: None)
    monkeypatch.setattr(face_clips, "_crop_one", lambda *_: None)
    pack(raw, tmp_path / "packed", Packing())
    crop_faces(raw, tmp_path / "crops", Cropping())
    for folder in ("packed", "crops"):
        assert sides(Manifest.read(tmp_path / folder / "manifest.csv"), None) == sides(raw, None), folder


def sides(clips, fold):
    """The rows that validate, as numbers."""
    numbered = Manifest(clips.table.assign(line=range(len(clips))), clips.source, clips.root)
    return split_source(numbered, fold, 0.2, seed=0).val.table["line"].tolist()
