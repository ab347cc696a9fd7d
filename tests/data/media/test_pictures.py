"""Frames that are files: what of a file is the picture, and what its pixels mean."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peclip.data.media.budget import MOST_SCANS, Budget
from peclip.data.media.canvas import read_image
from peclip.errors import InputError

SCAN = b"\xff\xda"


def jpeg(**options: object) -> bytes:
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    file = io.BytesIO()
    Image.fromarray(np.dstack([ramp, ramp.T, ramp])).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_of_grey_become_eight(dtype: str, tmp_path: Path):
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(dtype)
    Image.fromarray(grey).save(tmp_path / "thermal.png")
    found = np.asarray(read_image(str(tmp_path / "thermal.png"), 64))
    assert found.shape == (64, 64, 3)
    assert np.array_equal(found[..., 0], grey.astype(np.uint16) >> 8)


def test_what_a_phone_appends_to_a_photo_or_hides_in_its_metadata_is_no_part_of_it(tmp_path: Path):
    plain = jpeg(quality=90)
    many = SCAN * (MOST_SCANS + 1)
    (tmp_path / "plain.jpg").write_bytes(plain)
    (tmp_path / "motion.jpg").write_bytes(plain + many)
    (tmp_path / "thumbnails.jpg").write_bytes(jpeg(quality=90, exif=b"Exif\x00\x00" + many))
    expected = np.asarray(read_image(str(tmp_path / "plain.jpg"), 64))
    for name in ("motion.jpg", "thumbnails.jpg"):
        assert np.array_equal(read_image(str(tmp_path / name), 64), expected)


def test_scans_count_and_those_of_a_bomb_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    progressive = jpeg(quality=90, progressive=True)
    scans = progressive.count(SCAN)
    assert scans > 5
    spent: list[int] = []
    monkeypatch.setattr(Budget, "spend", lambda self, pixels, size: spent.append(pixels))
    (tmp_path / "progressive.jpg").write_bytes(progressive + SCAN)
    read_image(str(tmp_path / "progressive.jpg"), 64, Budget("a", is_clip=True))
    assert spent == [64 * 64 * scans]
    last = progressive.rindex(SCAN)
    (tmp_path / "bomb.jpg").write_bytes(progressive[:last] + progressive[last:-2] * MOST_SCANS + progressive[-2:])
    with pytest.raises(InputError, match="scans, more than the limit of 50: save it again"):
        read_image(str(tmp_path / "bomb.jpg"), 64)


def test_scans_that_a_file_hides_from_those_who_skip_segments_count(tmp_path: Path):
    """Decoders read on behind a marker below C0 that stands among compressed data."""
    begin, end = jpeg(quality=90)[:-2], jpeg(quality=90)[-2:]
    scan = begin[begin.rindex(SCAN) :]
    (tmp_path / "hidden.jpg").write_bytes(begin + b"\xff\x02\xff\xff" + scan * MOST_SCANS + end)
    with pytest.raises(InputError, match="scans, more than the limit of 50: save it again"):
        read_image(str(tmp_path / "hidden.jpg"), 64)
