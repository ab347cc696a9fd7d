"""Training on whole frames of RAVDESS or CREMA-D prints advice."""

import pandas as pd
import pytest

from peclip.data.benchmarks.whole import advice_on_whole_frames
from peclip.data.manifest import Manifest
from tests.media import write_video


@pytest.mark.parametrize(
    ("name", "size", "advised"),
    [
        ("01-01-03-01-01-01-01.mp4", (160, 90), "RAVDESS"),
        ("1019_DFA_ANG_XX.mp4", (120, 90), "CREMA-D"),
        ("01-01-03-01-01-01-01.mp4", (96, 96), None),
        ("000001-01-01-03-01-01-01-01.mp4", (160, 90), None),
        ("holiday.mp4", (160, 90), None),
    ],
)
def test_wide_clips_with_the_names_of_a_release_are_whole_frames(tmp_path, name, size, advised):
    write_video(tmp_path / name, 3, size=size)
    advice = advice_on_whole_frames(Manifest(pd.DataFrame({"path": [name]}), tmp_path / "m.csv", tmp_path))
    assert (f"These clips of {advised} are whole frames" in advice) if advised else advice == ""
    assert "\n" not in advice
