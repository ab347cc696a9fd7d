"""The line about tests that were skipped for lack of something."""

from tests import lacking
from tests.lacking import find_yunet, needs, summary


def test_one_line_says_what_was_lacking_and_how_to_provide_it():
    line = summary([f"Skipped: {needs('YuNet')}"] * 3 + ["Skipped: root may read everything"])
    assert line.startswith("3 tests were skipped: 3 for lack of YuNet (set PECLIP_FACE_MODEL")
    assert "\n" not in line


def test_where_nothing_was_lacking_there_is_no_line():
    assert summary(["Skipped: root may read everything"]) == ""


def test_the_detector_is_the_one_that_is_named_else_the_one_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PECLIP_FACE_MODEL", "mine.onnx")
    assert str(find_yunet()) == "mine.onnx"
    monkeypatch.delenv("PECLIP_FACE_MODEL")
    (tmp_path / "cached.onnx").touch()
    monkeypatch.setattr(lacking, "try_to_load_from_cache", lambda hub, name: str(tmp_path / "cached.onnx"))
    assert find_yunet() == tmp_path / "cached.onnx"
