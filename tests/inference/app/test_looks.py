"""Clips that are kept for heat maps: spread over the time of each face, and bounded; the head of the page."""

import re

import numpy as np
import pytest
import torch

from peclip.inference.app import looks
from peclip.inference.app.html import empty_of, head_of
from peclip.inference.app.looks import LOOKS, OF_FACE, KeptClips, look_at
from peclip.inference.recognizer import Row

CLIP = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize("windows", [3, OF_FACE, 100])
def test_the_kept_clips_of_a_face_are_spread_over_its_time(tmp_path, windows):
    kept = KeptClips(tmp_path / "clips")
    for row in range(windows):
        kept.add(row, 1, CLIP + row)
    rows = kept.rows()
    assert min(windows, LOOKS) <= len(rows) <= OF_FACE
    assert len({*np.diff(rows)}) == 1
    assert rows[0] == 0
    assert rows[-1] + rows[1] >= windows
    assert len(list((tmp_path / "clips").iterdir())) == len(rows)
    assert all((kept.clip(row) == row).all() for row in rows)


def test_many_faces_share_the_room_and_the_last_ones_go_without(tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "MOST_BYTES", 10 * CLIP.nbytes)
    kept = KeptClips(tmp_path / "clips")
    for row in range(60):
        kept.add(row, row % 3, CLIP)
        assert len(kept.rows()) <= 10
    assert {row % 3 for row in kept.rows()} == {0, 1, 2}
    for face in range(100, 130):
        kept.add(face, face, CLIP)
        assert len(list((tmp_path / "clips").iterdir())) == len(kept.rows()) <= 10


def test_a_look_is_the_heat_of_an_explanation(net):
    from peclip.data.augment import normalize
    from peclip.inference.explain.relevance import heated, maps, margin
    from peclip.model.watch import watched

    side, count = net.image_size, net.clip_format.num_frames
    clip = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    row = Row("film.mp4", 1, 0.0, 2.0, net.labels[1], dict.fromkeys(net.labels, 0.1))
    seen = watched(net, normalize(clip[None], net.clip_format)[0])
    heat = maps(seen, margin(seen.logits, 1)).gradient.numpy()
    expected = heated(clip.permute(0, 2, 3, 1).numpy(), heat)
    assert np.array_equal(look_at(net, row, clip).frames, expected)


def test_the_head_of_the_page_speaks_of_expressions_where_the_classes_are():
    assert "Which expression does a face show?" in head_of(["happiness", "anger"], None)
    assert "An expression is not a feeling." in head_of(["happiness", "anger"], None)
    other = head_of(["ApplyEyeMakeup", "Archery"], "trained on <nothing>")
    assert "expression" not in other.lower()
    assert "trained on &lt;nothing&gt;" in other
    for text in (head_of(["waving"], None, is_about_faces=False), empty_of(is_about_faces=False)):
        assert not re.search("face|expression", text)
