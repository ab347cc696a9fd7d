import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peclip.errors import InputError
from peclip.inference import faces
from peclip.inference.faces import YuNet

SHARED = Path(__file__).parents[3] / "shared"
YUNET = SHARED / "models" / "face_detection_yunet_2026may.onnx"

needs_yunet = pytest.mark.skipif(not YUNET.exists(), reason="needs ../shared/models")


def test_without_opencv_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r'pip install "peclip\[faces\]"') as told:
        YuNet("model.onnx")
    assert "\n" not in str(told.value)


def test_a_missing_model_is_named():
    pytest.importorskip("cv2", reason="needs OpenCV")
    with pytest.raises(InputError, match=r"face_model missing\.onnx: no such file"):
        YuNet("missing.onnx")


@pytest.mark.parametrize("content", [b"", b"no network at all" * 100])
def test_a_model_that_is_none_is_named(tmp_path, content, capfd):
    pytest.importorskip("cv2", reason="needs OpenCV")
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"face_model {path}: not the ONNX file of YuNet"):
        YuNet(str(path))
    assert capfd.readouterr().err == ""


def test_off_line_the_file_is_asked_for(monkeypatch, tmp_path):
    pytest.importorskip("cv2", reason="needs OpenCV")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"YuNet cannot be fetched from the Hub .*give the file") as told:
        YuNet()
    assert "\n" not in str(told.value)


@needs_yunet
def test_the_model_in_the_hubs_cache_is_used(monkeypatch):
    pytest.importorskip("cv2", reason="needs OpenCV")

    def fetch(repository: str, name: str, local_files_only: bool = False) -> str:
        assert (repository, local_files_only) == (faces.HUB, True)
        return str(YUNET)

    monkeypatch.setattr(faces, "hf_hub_download", fetch)
    assert YuNet()(np.zeros((90, 120, 3), np.uint8)).shape == (0, 4)


@needs_yunet
def test_every_face_of_a_picture_is_found(capfd):
    pytest.importorskip("cv2", reason="needs OpenCV")
    picture = np.array(Image.open(SHARED / "media" / "real_unlabelled" / "multi_face.jpg"))
    detect = YuNet(str(YUNET))
    boxes = detect(picture)
    assert len(boxes) == 5
    assert ((boxes[:, 2] > 60) & (boxes[:, 2] < 130)).all()
    # the same places in a frame of another size and shape
    again = detect(np.pad(picture[::2, ::2], ((0, 0), (100, 0), (0, 0))))
    by_left = boxes[np.argsort(boxes[:, 0])] / 2 + (100, 0, 0, 0)
    assert again[np.argsort(again[:, 0])] == pytest.approx(by_left, abs=8)
    assert capfd.readouterr().err == ""
