import numpy as np
import pytest
from PIL import Image

from peclip.results.mistakes import MOST, Mistake, _name, draw_mistakes, worst


def mistake(path: str, probability: float) -> Mistake:
    frames = np.full((6, 64, 64, 3), (200, 30, 30), np.uint8)
    return Mistake(path, "$fear$", "anger", probability, 1 - probability, frames)


def test_the_surest_mistakes_are_the_worst():
    found = worst([mistake(f"{n:02d}.mp4", probability) for n, probability in enumerate(np.linspace(0.5, 1, 40))])
    assert [each.path for each in found] == [f"{n}.mp4" for n in range(39, 39 - MOST, -1)]
    assert [each.path for each in worst([mistake("b", 0.9), mistake("a", 0.9)])] == ["a", "b"]


def test_clips_of_one_name_in_the_folders_of_two_classes_are_distinguished():
    assert _name("/data/test/fear/011.mp4") == "fear/011.mp4"
    assert _name("011.mp4") == "011.mp4"
    assert _name(f"a/{'b' * 300}/011.mp4").endswith("b/011.mp4")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [0, 1, MOST])
def test_every_mistake_has_its_frames(tmp_path, number):
    draw_mistakes(tmp_path / "a.png", [mistake("a.mp4", 0.9)] * number, "test clips")
    pixels = np.array(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    is_frame = (np.abs(pixels - (200, 30, 30)) < 6).all(axis=2).any(axis=1)
    assert np.count_nonzero(np.diff(is_frame.astype(int)) == 1) == number
