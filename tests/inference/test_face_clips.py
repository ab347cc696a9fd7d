"""``peclip faces``: clips of the face that each clip shows longest, equal to what recognition crops."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from peclip.clip_format import ClipFormat
from peclip.data.contents import check_crops
from peclip.data.manifest import Manifest
from peclip.data.media.clip import clip_frames
from peclip.errors import InputError
from peclip.inference import face_clips
from peclip.inference.crops import FoundFaces, cut_out, longest_track
from peclip.inference.face_clips import Cropping, crop_faces
from peclip.inference.tracks import Square, Tracker
from peclip.model import PEClip
from tests.lacking import YUNET, needs, needs_yunet
from tests.media import write_video
from tests.runs import run
from tests.scenes import FPS, Visit, film


class Eyes:
    """A detector of known boxes: a face on the left in all frames, one on the right in some; eyes that roll."""

    def __init__(self, rolls=None):
        self.number, self.rolls = -1, rolls

    def __call__(self, frame):
        self.number += 1
        roll = self.rolls[self.number] if self.rolls else 0.0
        eyes = [40 - 10 * np.cos(roll), 50 - 10 * np.sin(roll), 40 + 10 * np.cos(roll), 50 + 10 * np.sin(roll)]
        faces = [[20, 30, 40, 40, 0.9, *eyes], [200, 30, 90, 90, 0.9, 220, 60, 260, 60]]
        return np.array(faces[: 2 if self.number < 6 else 1])


def frames(count):
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return ((number / 25, picture) for number in range(count))


def test_the_face_that_is_seen_longest_is_cropped_not_the_largest():
    face = longest_track(frames(20), FoundFaces(32, Eyes()))
    squares = face.squares
    assert list(squares) == list(range(20))
    assert all(square.x == 40 for square in squares.values())
    assert (face.faces, face.equals) == (2, 0)
    assert face.words == "Of 2 faces the one seen longest is explained: 0.8 s of 0.8 s."


@pytest.mark.parametrize(
    ("people", "words"),
    [
        (1, ""),
        (2, " Another is seen as long and appears later or further right."),
        (3, " 2 others are seen as long and appear later or further right."),
    ],
)
def test_of_faces_seen_equally_long_it_is_the_leftmost_of_those_that_appear_first(people, words):
    boxes = np.array([[200.0, 30, 90, 90], [20, 30, 40, 40], [120, 150, 60, 60]][3 - people :])
    face = longest_track(frames(26), FoundFaces(32, lambda _: boxes))
    assert {square.x for square in face.squares.values()} == {40 if people > 1 else 150}
    chosen = f"Of {people} faces the one seen longest is explained: 1.0 s of 1.0 s." if words else ""
    assert face.words == chosen + words


def test_squares_follow_the_roll_of_the_eyes_and_crops_are_turned_by_it_alone_where_asked():
    squares = longest_track(frames(30), FoundFaces(32, Eyes([0.3] * 15 + [-0.2] * 15), upright=True)).squares
    assert squares[0].roll == pytest.approx(0.3)
    assert squares[29].roll == pytest.approx(-0.2, abs=0.01)
    assert -0.2 < squares[16].roll < 0.2, "it follows within a tenth of a second"


def test_eyes_in_profile_and_detectors_without_eyes_do_not_tell_the_roll():
    tracker, picture = Tracker(2), np.zeros((100, 100, 3), np.uint8)
    (track,) = tracker.update(0.0, picture, np.array([[20, 30, 40, 40, 0.9, 40, 50, 41, 53.0]]))
    assert track.square.roll == 0
    (track,) = tracker.update(0.04, picture, np.array([[20, 30, 40, 40.0]]))
    assert track.square.roll == 0


@pytest.mark.parametrize("roll", [0.4, -0.4, np.pi / 2])
def test_a_head_that_is_rolled_is_cropped_as_one_that_is_not(roll):
    y, x = np.mgrid[0:400, 0:400]
    upright = np.stack([128 + 100 * np.sin(x / 30), 128 + 100 * np.sin(y / 20), (x + y) / 4], axis=2).astype(np.uint8)
    rolled = np.asarray(Image.fromarray(upright).rotate(-np.degrees(roll), Image.Resampling.BICUBIC, center=(200, 200)))
    wanted = cut_out(upright, Square(200, 200, 150), 64).float()
    found = cut_out(rolled, Square(200, 200, 150, roll), 64, upright=True).float()
    assert (found - wanted).abs().mean() < 3
    assert (cut_out(rolled, Square(200, 200, 150, roll), 64).float() - wanted).abs().mean() > 20


def test_beyond_the_border_the_last_pixels_are_repeated_also_where_a_crop_is_turned():
    grey = np.full((80, 80, 3), 90, np.uint8)
    assert (cut_out(grey, Square(5, 75, 60, 0.7), 32, upright=True) == 90).all()


def test_a_model_says_whether_it_takes_upright_faces(tiny_clip, tmp_path):
    net = PEClip(["a", "b"], str(tiny_clip), upright=True, texts="names")
    net.save_pretrained(tmp_path / "package")
    assert PEClip.from_pretrained(tmp_path / "package").clip_format.upright
    assert "the eyes are level" in (tmp_path / "package/README.md").read_text()
    plain = PEClip(["a", "b"], str(tiny_clip), texts="names").config.to_plain()
    assert "upright" not in plain["clip_format"], "earlier versions read it"
    assert ClipFormat().differences(ClipFormat(upright=True)) == {"upright": (False, True)}


def test_crops_that_the_model_does_not_take_are_refused(tmp_path):
    state = {"manifest": "1", "size": 32, "upright": True, "format": 1}
    (tmp_path / "faces.json").write_text(json.dumps(state))
    check_crops(tmp_path / "manifest.csv", upright=True)
    with pytest.raises(InputError, match=r"its faces are upright .*crop with peclip faces --upright false"):
        check_crops(tmp_path / "manifest.csv", upright=False)
    wrong = (
        {**state, name: value} for name, value in (("manifest", 1), ("size", "32"), ("upright", 1), ("format", []))
    )
    for content in ("{", "[]", "[" * 100_000, *map(json.dumps, wrong)):
        (tmp_path / "faces.json").write_text(content)
        with pytest.raises(InputError, match="is damaged"):
            check_crops(tmp_path / "manifest.csv", upright=False)


@pytest.fixture
def data(tmp_path):
    """The manifest of a clip with two visitors, of a part of it, and of one that shows nobody."""
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    visits = [Visit(1, 20, 60, range(40)), Visit(2, 190, 60, range(15))]
    write_video(tmp_path / "two.mp4", 40, fps=FPS, frames=film(visits, 40))
    write_video(tmp_path / "nobody.mp4", 10, fps=FPS, frames=film([], 10))
    header = "path,label,fold_1,subject,start,end,p_happy,p_anger,p_fear"
    lines = ["two.mp4,happiness,train,anna,,,1,0,0", "two.mp4,anger,test,bert,0.4,0.8,0,0.5,0.5"]
    (tmp_path / "all.csv").write_text("\n".join([header, *lines, "nobody.mp4,fear,train,anna,,,,,"]) + "\n")
    return tmp_path


@needs_yunet
def test_the_command_writes_a_manifest_of_crops_and_resumes(data, monkeypatch):
    monkeypatch.chdir(data)
    command = ("faces", "all.csv", "--out", "faces", "--size", "64", "--face_model", YUNET, "--workers", "2")
    result = run(*command)
    assert result.status == 0, result.err
    assert "2 of 3 clips show a face: faces" in result.out
    assert "1 without a face: listed in faces/without_face.csv" in result.out
    crops = Manifest.read("faces/manifest.csv")
    assert crops.table[["label", "fold_1", "subject", "p_anger"]].to_numpy().tolist() == [
        ["happiness", "train", "anna", 0],
        ["anger", "test", "bert", 0.5],
    ]
    (listed,) = csv.DictReader((data / "faces/without_face.csv").read_text().splitlines())
    assert (listed["clip"], listed["path"], listed["why"]) == ("2", "nobody.mp4", "no face was found")
    whole, part = (list(clip_frames(crops.clip(number).path)) for number in range(2))
    assert (len(whole), len(part)) == (40, 10)
    assert whole[1][0] == pytest.approx(1 / FPS, abs=1e-3)

    first, second = sorted((data / "faces/crops").rglob("*.mp4"))
    before, kept = first.stat().st_mtime_ns, first.read_bytes()
    second.unlink()
    torn = second.with_name(f".{second.stem}.99999.mp4")
    torn.write_bytes(b"torn")
    (data / "faces/manifest.csv").unlink()
    assert run(*command).status == 0
    assert (first.stat().st_mtime_ns, first.read_bytes()) == (before, kept), "finished crops are kept"
    assert second.exists()
    assert not torn.exists()
    assert len(Manifest.read("faces/manifest.csv")) == 2
    result = run(*command, "--upright", "true")
    assert result.err == (
        "peclip: error: out faces: was begun with another --upright (False, not True): name another folder\n"
    )


@needs_yunet
def test_crops_are_those_of_recognition(data):
    from peclip.inference.faces import YuNet

    crop_faces(Manifest.read(data / "all.csv"), data / "faces", Cropping(64, face_model=str(YUNET)))
    crops = Manifest.read(data / "faces/manifest.csv")
    written = torch.stack([torch.from_numpy(frame).permute(2, 0, 1) for _, frame in clip_frames(crops.clip(0).path)])
    faces, seen = FoundFaces(64, YuNet(str(YUNET))), []
    for seconds, frame in clip_frames(data / "two.mp4"):
        view = faces.cut(seconds, frame, lambda *_: True)
        seen.append(min(view.faces.values(), key=lambda each: each.box.left).crop)
    grey = (
        written.float().mean(dim=1),
        torch.stack(seen).float().mean(dim=1),
    )  # the encoder halves the resolution of colours
    assert (grey[0] - grey[1]).abs().mean() < 2
    assert (grey[0][:-5] - grey[1][5:]).abs().mean() > 3, "no frame is another one's"


@needs_yunet
def test_a_clip_that_cannot_be_read_ends_the_run_or_is_listed(data, monkeypatch):
    (data / "nobody.mp4").write_bytes(b"no video")
    table = Manifest.read(data / "all.csv")
    with pytest.raises(InputError, match=r"nobody\.mp4.*\(.*all\.csv line 4\)"):
        crop_faces(table, data / "faces", Cropping(64, face_model=str(YUNET)))
    found = crop_faces(table, data / "faces", Cropping(64, face_model=str(YUNET), skip=True))
    assert (len(found.manifest), found.without, found.unreadable) == (2, 0, 1)

    def full(path, crops, size):
        raise InputError(f"{path} cannot be written: No space left on device{face_clips.ADVICE}")

    monkeypatch.setattr(face_clips, "write_crops", full)
    for crop in (data / "faces/crops").rglob("*.mp4"):
        crop.unlink()
    with pytest.raises(InputError, match="No space left on device; finished crops"):
        crop_faces(table, data / "faces", Cropping(64, face_model=str(YUNET), skip=True))


def test_another_folder_and_odd_sizes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(face_clips, "YuNet", lambda model: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    (tmp_path / "all.csv").write_text("path,label\na.mp4,fear\n")
    with pytest.raises(InputError, match="holds other files than crops of faces"):
        crop_faces(Manifest.read(tmp_path / "all.csv"), tmp_path / "out", Cropping(64))
    with pytest.raises(InputError, match="size is 63, expected an even number from 16 to 1024"):
        Cropping(63)
