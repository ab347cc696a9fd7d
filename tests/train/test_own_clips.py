"""Clips of an evaluation on which its model was trained or chosen."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml

from peclip.data.datamodule import VideoDataModule
from peclip.data.source import Splits, stratified_share
from peclip.results.card import RunRecord
from peclip.results.selection import Seen
from peclip.train.runs.clips import split_digests
from peclip.train.runs.own_clips import OwnClips, own_clips

LABELS = ("happiness", "sadness")


def manifest(path, rows=40, column="split", roles=("train", "train", "train", "test"), root="clips"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{root}/{row}.mp4,{LABELS[row % 2]},{roles[row // 2 % len(roles)]}" for row in range(rows)]
    path.write_text("\n".join([f"path,label,{column}", *lines]) + "\n")
    return path


def data_of(path, **options):
    return VideoDataModule(str(path), num_workers=0, **{"val": 0.2} | options)


def run_of(folder, data, seed=0, digests=False):
    """The folder of a run with these options, and with the digests of its clips where they are wanted."""
    (folder / "checkpoints").mkdir(parents=True)
    names = ("manifest", "fold", "val", "shots", "soft_labels")
    options = {"seed_everything": seed, "data": {name: getattr(data, name) for name in names}}
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    if digests:
        state = {"options": options, "clips": split_digests(data)}
        torch.save({"callbacks": {"LastCheckpoint": state}}, folder / "checkpoints/last.ckpt")
    return folder


def found(run, data, split="validation", record=None):
    clips = data.splits.val if split == "validation" else data.splits.test
    return own_clips(str(run), SimpleNamespace(record=record), data, clips, split)


@pytest.fixture
def clips(tmp_path):
    return manifest(tmp_path / "data/clips.csv")


@pytest.mark.parametrize("digests", [False, True])
def test_the_clips_of_the_training_are_its_own(tmp_path, clips, digests):
    run = run_of(tmp_path / "run", data_of(clips), digests=digests)
    assert found(run, data_of(clips)) == OwnClips("validation")
    assert found(run, data_of(clips), "test") == OwnClips("validation")
    assert found(run, data_of(clips, val=0.5), "test") == OwnClips("validation")


@pytest.mark.parametrize(("own", "other"), [({}, {"seed": 7}), ({}, {"val": 0.5}), ({"shots": 2}, {"val": 0.9})])
def test_another_validation_share_holds_training_clips(tmp_path, clips, own, other):
    own, data = data_of(clips, **own), data_of(clips, **other)
    trained, validated = ({*own.splits.train.table["path"]}, {*own.splits.val.table["path"]})
    here = [*data.splits.val.table["path"]]
    seen = Seen(sum(path in trained for path in here), sum(path in validated for path in here), len(here))
    assert seen.training
    assert found(run_of(tmp_path / "run", own), data) == OwnClips("none", seen)


def test_another_fold_holds_training_and_validation_clips(tmp_path):
    folds = manifest(tmp_path / "folds.csv", column="fold", roles=("1", "2", "3", "4"))
    run = run_of(tmp_path / "run", data_of(folds, fold=1))
    selection, seen = (result := found(run, data_of(folds, fold=2), "test")).selection, result.seen
    assert selection == "none"
    assert (seen.training + seen.validation, seen.of) == (10, 10)
    assert seen.training


def test_training_clips_in_another_list_are_found(tmp_path, clips):
    run = run_of(tmp_path / "run", data_of(clips), digests=True)
    trained = data_of(clips).splits.train.table["path"].iloc[:3]
    rows = [f"{path},happiness,test" for path in (*trained, "clips/new.mp4")]
    other = clips.with_name("other.csv")
    other.write_text("\n".join(["path,label,split", *rows]) + "\n")
    assert found(run, data_of(other), "test") == OwnClips("none", Seen(3, 0, 4))


def test_clips_that_were_moved_are_known_by_their_digest(tmp_path, clips):
    run, bare = (run_of(tmp_path / name, data_of(clips), digests=name == "run") for name in ("run", "bare"))
    moved = clips.parent.rename(tmp_path / "moved") / clips.name
    assert found(run, data_of(moved)) == OwnClips("validation")
    assert found(run, data_of(moved, seed=7)).seen.training
    assert found(bare, data_of(moved, seed=7)) == OwnClips("none")  # nothing says that they are the same


def test_a_copy_of_the_clips_is_known_by_its_digest(tmp_path, clips):
    run, chosen = (run_of(tmp_path / f"run{val}", data_of(clips, val=val), digests=True) for val in (0.2, "test"))
    copy = shutil.copytree(clips.parent, tmp_path / "copy") / clips.name
    assert found(run, data_of(copy)) == OwnClips("validation")
    assert found(run, data_of(copy), "test") == OwnClips("validation")
    assert found(run, data_of(copy, seed=7)).seen.training
    assert found(chosen, data_of(copy, val="test"), "test") == OwnClips("test")


def test_the_clips_of_a_training_whose_list_is_another_now_are_not_known(tmp_path, clips):
    run, bare = (run_of(tmp_path / name, data_of(clips), digests=name == "run") for name in ("run", "bare"))
    manifest(clips, rows=44)
    data = data_of(clips, seed=7)
    assert found(run, data) == OwnClips("none", Seen(0, 0, len(data.splits.val), unknown=True))
    clips.unlink()
    assert found(bare, data_of(manifest(tmp_path / "other.csv"))) == OwnClips("none")  # its results never say more


@pytest.mark.parametrize("kind", ["digests", "options", "package"])
def test_the_clips_of_a_training_that_drew_pieces_one_by_one_are_not_known(tmp_path, kind):
    pieces = tmp_path / "pieces.csv"
    rows = [f"{piece // 4}.mp4,{LABELS[piece % 2]},{piece % 4},{piece % 4 + 1}" for piece in range(40)]
    pieces.write_text("\n".join(["path,label,start,end", *rows]) + "\n")
    old, now = data_of(pieces), data_of(pieces)
    held_out = stratified_share(old.source, 0.2, seed=0)
    old.splits = Splits(old.source.select(~held_out), old.source.select(held_out), now.splits.test)
    run = tmp_path if kind == "package" else run_of(tmp_path / "run", old, digests=kind == "digests")
    record = RunRecord({"source": "pieces.csv", "val": 0.2}, {"seed": 0}, None)
    assert found(run, now, record=record) == OwnClips("none", Seen(0, 0, len(now.splits.val), unknown=True))
    assert found(run_of(tmp_path / "new", now, digests=True), now) == OwnClips("validation")


def test_other_clips_are_not_those_of_a_training_with_soft_labels_and_no_validation(tmp_path, clips):
    run = run_of(tmp_path / "run", data_of(clips, val=0, soft_labels=True), digests=True)
    assert found(run, data_of(clips)).seen.training
    clips.unlink()
    data = data_of(manifest(tmp_path / "other.csv", rows=48))
    assert found(run, data) == OwnClips("none", Seen(0, 0, len(data.splits.val), unknown=True))


def test_a_checkpoint_alone_knows_its_clips(tmp_path, clips):
    run = run_of(tmp_path / "run", data_of(clips), digests=True)
    alone = (run / "checkpoints/last.ckpt").rename(tmp_path / "alone.ckpt")
    assert found(alone, data_of(clips, seed=7)).seen.training


@pytest.mark.parametrize("options", ["{data: 1, seed_everything: 0}", "{data: {val: [1]}, seed_everything: -1}"])
def test_options_of_a_run_that_are_none_do_not_end_an_evaluation(tmp_path, clips, options):
    run = run_of(tmp_path / "run", data_of(clips))
    (run / "config.yaml").write_text(options)
    assert found(run, data_of(clips)) == OwnClips("none")


@pytest.mark.parametrize(
    ("data", "training", "selection"),
    [
        ({"source": "clips.csv", "val": 0.2}, {"seed": 0}, "validation"),
        ({"source": "clips.csv", "val": 0.2}, {"seed": 7}, "none"),
        ({"source": "other.csv", "val": 0.2}, {"seed": 0}, "none"),
    ],
)
def test_a_package_was_chosen_on_the_clips_that_its_record_names(tmp_path, clips, data, training, selection):
    record = RunRecord(data, training, None)
    assert found(tmp_path, data_of(clips), record=record) == OwnClips(selection)
    assert found(tmp_path, data_of(clips)) == OwnClips("none")


@pytest.mark.parametrize(("val", "role"), [(0.2, "val"), ("test", "train")])
def test_the_seed_of_a_package_counts_only_where_it_draws_validation_clips(tmp_path, val, role):
    data = data_of(manifest(tmp_path / "clips.csv", roles=("train", role, "test")), val=val)
    record = RunRecord({"source": "clips.csv", "val": val}, {"seed": 3}, None)
    assert found(tmp_path, data, "test", record=record) == OwnClips(data.selection)
    assert data.selection != "none"
