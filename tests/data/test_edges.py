"""Edges of folds, windows, folders and rights: what is counted from 0, held, of the same name, the user's own, or not readable."""

import os
import shutil
from codecs import BOM_UTF8
from pathlib import Path

import av
import numpy as np
import pytest

from peclip.data import VideoDataModule
from peclip.data.benchmarks import read_benchmark
from peclip.data.check import inspection
from peclip.data.check.report import _both_sides
from peclip.data.lists.prepare import prepare_list
from peclip.data.manifest import Manifest
from peclip.data.manifest.text import check_replaceable
from peclip.data.media.clip import clip_frames, read_chosen, read_clip
from peclip.data.pack import Packing, pack
from peclip.demo import tasks
from peclip.demo.tasks import write_video
from peclip.errors import InputError
from tests.runs import run


def write_manifest(folder, *lines):
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "m.csv")


def films(folder, *greys, frames=3):
    """Videos of one grey each, named by their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, grey in enumerate(greys):
        write_video(folder / f"{number}.mp4", np.full((frames, 64, 64, 3), grey, np.uint8))


# --- folds from 0 ---


def test_lists_of_five_folds_that_count_from_0_are_five_folds(tmp_path):
    names = [f"{number:03d}.mp4" for number in range(10)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    for fold in range(5):
        for part, tested in (("train", False), ("test", True)):
            lines = [f"{name} 16 {n % 2}\n" for n, name in enumerate(names) if (n // 2 == fold) is tested]
            (tmp_path / f"{part}_fold{fold}.txt").write_text("".join(lines))
    train, test = ([tmp_path / f"{part}_fold{fold}.txt" for fold in range(5)] for part in ("train", "test"))
    manifest = prepare_list(train, tmp_path, "happiness,anger", test)
    assert manifest.folds == [0, 1, 2, 3, 4]
    assert manifest.table["fold"].notna().all()


def write_dfew(root, folds):
    for clip in range(1, 11):
        (root / f"Clip/clip_224x224/{clip:05d}").mkdir(parents=True)
        (root / f"Clip/clip_224x224/{clip:05d}/1.jpg").write_bytes(b"x")
    for place, fold in enumerate(folds):
        for part, is_tested in (("train", False), ("test", True)):
            lines = [f"{clip},{clip % 7}\n" for clip in range(1, 11) if ((clip - 1) // 2 == place) is is_tested]
            (root / f"{part}_set_{fold}.csv").write_text("video_name,label\n" + "".join(lines))


def test_lists_of_dfew_that_count_from_0_are_its_five_folds(tmp_path):
    write_dfew(tmp_path / "one", range(1, 6))
    write_dfew(tmp_path / "zero", range(5))
    one, zero = (read_benchmark("dfew", tmp_path / name, first_label="0") for name in ("one", "zero"))
    assert zero.folds == [1, 2, 3, 4, 5]
    assert zero.table["fold"].tolist() == one.table["fold"].tolist()


def test_lists_of_dfew_from_0_to_5_are_refused(tmp_path):
    write_dfew(tmp_path, range(6))
    with pytest.raises(InputError, match=r"set_5\.csv: is a list of fold 5 beside one of fold 0"):
        read_benchmark("dfew", tmp_path, first_label="0")


def test_the_spelling_of_an_order_of_labels_does_not_decide_on_subjects(tmp_path):
    rows = []
    for actor in ("01", "02"):
        (tmp_path / f"Actor_{actor}").mkdir()
        for number in range(1, 9):
            name = f"Actor_{actor}/01-01-{number:02d}-01-01-01-{actor}.mp4"
            (tmp_path / name).write_bytes(b"x")
            rows.append(f"{name} {number - 1}\n")
    (tmp_path / "train.csv").write_text("".join(rows))
    for spelling in ("ravdess", "RAVDESS", " Ravdess"):
        manifest = prepare_list([tmp_path / "train.csv"], tmp_path, spelling)
        assert set(manifest.table["subject"]) == {"01", "02"}, spelling


def test_who_validates_in_other_folds_is_checked_on_each_side(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.mp4").write_bytes(b"x" * (5 if number < 2 else number + 9))
    rows = ("0.mp4,happiness,val,1,ann", "1.mp4,happiness,,1,ann", "2.mp4,anger,,2,bob", "3.mp4,anger,,2,cid")
    manifest = write_manifest(tmp_path, "path,label,split,fold,subject", *rows)
    assert any(finding.fatal for finding in _both_sides(manifest, None))


def test_predict_takes_the_test_clips_of_its_fold(tmp_path):
    films(tmp_path, 10, 20, 30, 40)
    write_manifest(
        tmp_path, "path,label,fold", *(f"{n}.mp4,{('happiness', 'anger')[n % 2]},{1 + n // 2}" for n in range(4))
    )
    data = VideoDataModule(manifest=str(tmp_path / "m.csv"), fold=1, num_workers=0)
    assert data.predicted.table["path"].tolist() == ["0.mp4", "1.mp4"]


# --- windows ---


@pytest.mark.parametrize(("start", "end"), [(0.1, 0.4), (0.2, 1.1), (0.6, 0.95), (None, 0.7), (1.0, None), (2.7, 2.9)])
def test_all_frames_of_a_clip_are_those_that_training_counts(tmp_path, start, end):
    path = tmp_path / "slow.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 40, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = [(seconds, frame.mean()) for seconds, frame in clip_frames(path, start, end)]
    chosen = read_chosen(path, len(found), 64, start=start, end=end)
    assert chosen.frames == len(found)
    assert np.allclose([mean for _, mean in found], chosen.clip.float().mean(dim=(1, 2, 3)), atol=2)
    assert all((start or 0) <= seconds < (end or 3) for seconds, _ in found)


def test_a_window_behind_the_end_has_no_frame(tmp_path):
    films(tmp_path, 10)
    with pytest.raises(InputError, match=r"0\.mp4: has no frame from 50 s on before 60 s"):
        list(clip_frames(tmp_path / "0.mp4", 50, 60))


# --- folders ---


def test_clips_of_the_same_names_in_another_folder_are_others(tmp_path):
    for name, grey in (("a", 30), ("b", 220)):
        films(tmp_path / name, grey, grey, frames=3 if name == "a" else 12)
        write_manifest(tmp_path / name, "path,label", "0.mp4,happiness", "1.mp4,anger")
    packed = pack(Manifest.read(tmp_path / "a/m.csv"), tmp_path / "out", Packing(size=64))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="holds the clips of another manifest"):
        pack(Manifest.read(tmp_path / "b/m.csv"), tmp_path / "out", Packing(size=64))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    shutil.move(tmp_path / "a", tmp_path / "moved")  # the same clips may move
    pack(Manifest.read(tmp_path / "moved/m.csv"), tmp_path / "out", Packing(size=64))
    assert read_clip(packed.clip(0).path, 2, 64).float().mean() == pytest.approx(30, abs=3)


def test_packing_keeps_a_manifest_that_is_not_its_own(tmp_path):
    films(tmp_path, 10, 20)
    manifest = write_manifest(tmp_path, "path,label", "0.mp4,happiness", "1.mp4,anger")
    (tmp_path / "m.csv").rename(tmp_path / "manifest.csv")
    before = (tmp_path / "manifest.csv").read_text()
    with pytest.raises(InputError, match=r"has a manifest\.csv that peclip pack did not write"):
        pack(manifest, tmp_path, Packing(size=64))
    assert (tmp_path / "manifest.csv").read_text() == before
    assert not list(tmp_path.glob("shard*"))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_the_demo_replaces_nothing_of_the_users(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "demo", lambda root: pytest.fail("clips are generated for nothing"))
    link = tmp_path / "demo"
    {"file": link.touch, "folder": link.mkdir, "link": lambda: link.symlink_to("mine")}[kind]()
    for _ in range(2):
        with pytest.raises(InputError, match="is not what peclip has made"):
            tasks.generate("demo", tmp_path)
    assert os.listdir(tmp_path) == ["demo"]


def test_what_an_archive_of_a_mac_adds_is_no_class(tmp_path):
    for name in ("happy/1.mp4", "sad/1.mp4", "__MACOSX/happy/._1.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert read_benchmark("folders", tmp_path).labels == ["happiness", "sadness"]


def test_a_file_without_the_right_to_read_it_is_one_finding(tmp_path, monkeypatch):
    films(tmp_path, 10, 20)
    manifest = write_manifest(tmp_path, "path,label", "0.mp4,happiness", "1.mp4,anger")
    files = inspection._files

    def locked(path: Path):
        if path.name == "0.mp4":
            raise PermissionError(13, "Permission denied", str(path))
        return files(path)

    monkeypatch.setattr(inspection, "_files", locked)
    first, second = (inspection.inspect_clip(manifest.clip(n), 2, full=False) for n in range(2))
    assert (first.problem, second.problem) == ("undecodable", None)
    assert "0.mp4: cannot be read (Permission denied)" in first.message
    assert inspection.same_content(manifest) == []


@pytest.mark.parametrize("command", [("prepare", "folders"), ("prepare", "list", "list.txt")])
def test_what_is_no_manifest_is_not_replaced_by_one(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("anger", "fear"):
        Path("clips", label).mkdir(parents=True)
        write_video(tmp_path / f"clips/{label}/a.mp4", np.zeros((3, 32, 32, 3), np.uint8))
    Path("list.txt").write_text("anger/a.mp4 anger\nfear/a.mp4 fear\n")
    Path("thesis.txt").write_text("years of work")
    result = run(*command, "--root", "clips", "--out", "thesis.txt")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "out thesis.txt is there and is no manifest: name another file" in result.err
    assert Path("thesis.txt").read_text() == "years of work"
    for _ in range(2):  # a manifest is replaced
        assert run(*command, "--root", "clips", "--out", "m.csv").status == 0
    Path("m.csv").write_bytes(BOM_UTF8 + Path("m.csv").read_bytes())  # as spreadsheets save it
    assert run(*command, "--root", "clips", "--out", "m.csv").status == 0


@pytest.mark.parametrize(
    ("name", "message"), [("pipe", "pipe"), ("x" * 300, "File name too long"), ("loop", "symbolic links")]
)
def test_a_place_that_is_no_file_is_one_line_and_waits_for_nobody(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    result = run("prepare", "folders", "--root", ".", "--out", name)
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert message in result.err


@pytest.mark.parametrize("before", ["\n", '"path","label"\n"a.mp4","anger"\n'])
def test_an_empty_file_and_a_manifest_that_another_program_saved_are_replaced(before, tmp_path):
    (tmp_path / "m.csv").write_text(before)
    check_replaceable(tmp_path / "m.csv")


def test_a_manifest_written_by_hand_is_not_replaced_by_one_that_says_less(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path("clips", name).mkdir(parents=True)
        Path("clips", name, "1.mp4").touch()
    for before in ("path,label,split\nclips/a/1.mp4,a,test\n", "label;path;video\na;clips/a/1.mp4;Anna\n"):
        Path("mine.csv").write_text(before)
        result = run("prepare", "folders", "--root", "clips", "--out", "mine.csv")
        column = "split" if "split" in before else "subject"
        assert result.err == (
            f"peclip: error: out mine.csv is a manifest with the column '{column}', which the new one would not have: name "
            "another file\n"
        )
        assert Path("mine.csv").read_text() == before
    assert [run("prepare", "folders", "--root", "clips", "--out", "new.csv").status for _ in range(2)] == [0, 0]
