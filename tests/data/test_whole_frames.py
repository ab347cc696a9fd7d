"""Training on whole frames of a data set of expressions prints advice; training on crops of faces does not."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from peclip.data.benchmarks.whole_frames import advice_on_whole_frames
from peclip.data.manifest import Manifest
from tests.media import write_video
from tests.runs import run


def manifest_of(folder, sizes, label):
    """Write clips by their names, each of one frame of a size, and return their manifest."""
    for name, (width, height) in sizes.items():
        if name.endswith(".mp4"):
            write_video(folder / name, 1, size=(width, height))
        else:
            (folder / name).mkdir()
            Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / name / "1.jpg")
    return Manifest(pd.DataFrame({"path": [*sizes], "label": label}), folder / "m.csv", folder)


@pytest.mark.parametrize(
    ("name", "size", "label", "advised"),
    [
        ("01-01-03-01-01-01-01.mp4", (160, 90), "happiness", "These clips of RAVDESS are whole frames (160 x 90), "),
        ("1019_DFA_ANG_XX.mp4", (120, 90), "1", "These clips of CREMA-D are whole frames (120 x 90), "),
        ("000046280.mp4", (90, 72), "anger", "These clips are whole frames (90 x 72), "),
        ("telephone.mp4", (90, 160), "fear", "These clips are whole frames (90 x 160), "),
        ("frames", (160, 90), "happiness", "These clips are whole frames (160 x 90), "),
        ("01-01-03-01-01-01-01.mp4", (96, 96), "happiness", ""),
        ("000001-01-01-03-01-01-01-01.mp4", (96, 96), "happiness", ""),
        ("box_of_a_face.mp4", (72, 108), "happiness", ""),
        ("v_Archery_g01_c01.mp4", (160, 120), "archery", ""),
    ],
)
def test_clips_of_expressions_that_are_wider_or_taller_than_faces_are_whole_frames(
    tmp_path, name, size, label, advised
):
    advice = advice_on_whole_frames(manifest_of(tmp_path, {name: size}, label))
    assert advice.startswith(advised) if advised else advice == ""
    assert "\n" not in advice


def test_clips_in_the_middle_of_the_list_are_seen_too_and_those_that_cannot_be_read_are_no_obstacle(tmp_path):
    clips = manifest_of(tmp_path, {"a.mp4": (64, 64), "b.mp4": (160, 90), "c.mp4": (64, 64)}, "fear")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert advice_on_whole_frames(clips).startswith("Some clips are whole frames (160 x 90), but peclip recognize ")
    assert advice_on_whole_frames(clips.select(clips.table["path"] != "b.mp4")) == ""
    assert advice_on_whole_frames(clips.select(clips.table["path"] == "")) == ""


def test_packing_whole_frames_says_so_because_packed_frames_are_square(tmp_path):
    write_video(tmp_path / "a.mp4", 2, size=(160, 90))
    (tmp_path / "m.csv").write_text("path,label\na.mp4,fear\n")
    result = run("pack", tmp_path / "m.csv", "--out", tmp_path / "packed", "--size", "32", "--workers", "1")
    assert "These clips are whole frames (160 x 90), but" in result.out
    assert advice_on_whole_frames(Manifest.read(tmp_path / "packed/manifest.csv")) == ""
