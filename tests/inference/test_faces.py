import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from peclip.errors import InputError
from peclip.inference import faces
from peclip.inference.faces import YuNet, checked_faces, detector_of, silenced
from tests import lacking
from tests.lacking import YUNET, needs, needs_yunet
from tests.scenes import Visit, film

ONCE = range(1)


def test_without_opencv_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r'pip install "peclip\[faces\]"') as caught:
        YuNet("model.onnx")
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_named():
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    with pytest.raises(InputError, match=r"face_model missing\.onnx: no such file"):
        YuNet("missing.onnx")


@pytest.mark.parametrize("content", [b"", b"no network at all" * 100])
def test_a_model_that_is_none_is_named(tmp_path, content, capfd):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"face_model {path}: not the ONNX file of YuNet"):
        YuNet(str(path))
    assert capfd.readouterr().err == ""


def test_off_line_the_file_is_asked_for(monkeypatch, tmp_path):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=r"YuNet cannot be downloaded from the Hub .*set face_model to the file"
    ) as caught:
        YuNet()
    assert "\n" not in str(caught.value)


@needs_yunet
def test_the_model_in_the_hubs_cache_is_used(monkeypatch):
    pytest.importorskip("cv2", reason=needs("OpenCV"))

    def fetch(repository: str, name: str, local_files_only: bool = False) -> str:
        assert (repository, local_files_only) == (faces.YUNET_HUB, True)
        return str(YUNET)

    monkeypatch.setattr(faces, "hf_hub_download", fetch)
    assert YuNet()(np.zeros((90, 120, 3), np.uint8)).shape == (0, 9)


@needs_yunet
def test_threads_may_share_a_detector():
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    picture, detect = film([Visit(0, 40, 40, ONCE, 120)], 1)[0], YuNet(str(YUNET))
    pictures = [picture, np.pad(picture, ((0, 60), (0, 100), (0, 0)))]
    expected = [detect(each) for each in pictures]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(detect, pictures * 20))
    assert all(np.array_equal(each, expected[place % 2]) for place, each in enumerate(found))


@needs_yunet
def test_every_face_of_a_picture_is_found(capfd):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    people = [Visit(0, 0, 120, ONCE, 90), Visit(1, 50, 5, ONCE, 110), Visit(2, 130, 130, ONCE, 100)]
    people += [Visit(3, 190, 5, ONCE, 70), Visit(4, 250, 90, ONCE, 60)]
    picture = np.kron(film(people, 1)[0], np.ones((2, 2, 1), np.uint8))
    detect = YuNet(str(YUNET))
    found = by_centre(detect(picture))
    places = 2 * np.array(sorted(person.place(0) for person in people))
    assert_near(found, places, place=0.05, side=0.08)
    # the same places in a frame of another size and shape
    again = by_centre(detect(np.pad(picture[::2, ::2], ((0, 0), (100, 0), (0, 0)))))
    assert_near(again, found / 2 + (100, 0, 0), place=0.06, side=0.12)
    assert capfd.readouterr().err == ""


def assert_near(found, expected, place, side):
    """Check centres and sides of faces by shares of the side of each."""
    assert found.shape == expected.shape
    off = np.abs(found - expected) / expected[:, 2:]
    assert off[:, :2].max() <= place
    assert off[:, 2].max() <= side


def by_centre(boxes):
    """Return x and y of the centre of each box and its longer side, from left to right."""
    return np.array(sorted((x + width / 2, y + height / 2, max(width, height)) for x, y, width, height, *_ in boxes))


@pytest.mark.parametrize("box", [(np.nan, 0, 10, 10), (0, 0, np.inf, 10), (0, 0, 0, 10), (0, 0, 10, -1)])
def test_a_detector_of_ones_own_that_returns_no_box_is_named(box):
    with pytest.raises(InputError, match="faces returns a box that has no width or height, or is not finite"):
        checked_faces(lambda frame: np.array([box]))(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("faces", ["none", lambda frame: np.zeros((0, 4))])
def test_a_model_that_would_find_no_faces_is_refused(faces):
    with pytest.raises(InputError, match="face_model is a file of YuNet, which finds no faces here"):
        detector_of(faces, "yunet.onnx")


@pytest.mark.parametrize("version", [4, 5])
def test_every_opencv_is_silent_within_the_context_alone(version):
    levels = [3]
    log = SimpleNamespace(getLogLevel=lambda: levels[-1], setLogLevel=levels.append)
    cv2 = (
        SimpleNamespace(**vars(log), utils=object())
        if version == 4
        else SimpleNamespace(utils=SimpleNamespace(logging=log))
    )
    with silenced(cv2):
        assert levels == [3, 0]
    assert levels == [3, 0, 3]


def test_the_tests_look_for_the_detector_where_peclip_does():
    assert (lacking.HUB, lacking.HUB_FILES) == (faces.YUNET_HUB, faces.YUNET_FILES)


def test_a_detector_of_ones_own_that_returns_no_numbers_is_named():
    with pytest.raises(InputError, match=r"expected an array \(N, 4\) or wider"):
        checked_faces(lambda frame: np.array([["a", "b", "c", "d"]]))(np.zeros((8, 8, 3), np.uint8))
