import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from peclip.errors import InputError
from peclip.inference.formats import Annotated, as_elan, as_srt, as_vtt, chosen_formats
from peclip.inference.segments import Segment

LABELS = ["happiness", "<fear> & co"]


def segment(track: int, start: float, end: float, label: int, *cautions: str) -> Segment:
    return Segment(track, start, end, label, np.array([0.8, 0.2])[:: 1 - 2 * label], cautions)


VIDEO = Annotated(
    "a b.mp4", LABELS, [segment(1, 0, 2.5, 0), segment(2, 1, 3661.25, 1, "small face")], "It is new: so beware."
)


def test_subtitles_do_not_overlap_and_name_every_face():
    assert (
        as_srt(VIDEO)
        == """1
00:00:00,000 --> 00:00:01,000
face 1: happiness (0.80)
(It is new)

2
00:00:01,000 --> 00:00:02,500
face 1: happiness (0.80)
face 2: <fear> & co (0.80, small face)
(It is new)

3
00:00:02,500 --> 01:01:01,250
face 2: <fear> & co (0.80, small face)
(It is new)
"""
    )


def test_webvtt_escapes_names():
    text = as_vtt(VIDEO)
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nface 1: happiness (0.80)\n(It is new)\n\n")
    assert "face 2: &lt;fear&gt; &amp; co" in text


def test_answers_about_whole_frames_name_no_face():
    video = Annotated("a", ["falls", "rises"], [segment(1, 0, 1, 0, "small picture")], "", is_about_faces=False)
    assert "\nfalls (0.80, small picture)\n" in as_srt(video)
    assert '<TIER TIER_ID="video" LINGUISTIC_TYPE_REF="label">' in as_elan(video)
    assert not re.search("face|expression", as_srt(video) + as_vtt(video) + as_elan(video))


def test_a_stretch_without_a_face_has_no_subtitle():
    video = Annotated("a", LABELS, [segment(1, 0, 1, 0), segment(1, 5, 6, 0)], "")
    assert as_srt(video).count("-->") == 2


def test_elan_has_a_tier_per_face_and_the_classes_as_vocabulary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a b.mp4").touch()
    root = ElementTree.fromstring(as_elan(VIDEO).encode())
    times = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    assert [*times.values()] == [0, 1000, 2500, 3661250], "in order of time over all faces"
    found = {
        tier.get("TIER_ID"): [
            (times[each.get("TIME_SLOT_REF1")], times[each.get("TIME_SLOT_REF2")], each.findtext("ANNOTATION_VALUE"))
            for each in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }
    assert found == {"face 1": [(0, 2500, "happiness")], "face 2": [(1000, 3661250, "<fear> & co")]}
    vocabulary = {entry.get("CVE_ID"): entry.findtext("CVE_VALUE") for entry in root.iter("CV_ENTRY_ML")}
    assert [*vocabulary.values()] == LABELS
    for each in root.iter("ALIGNABLE_ANNOTATION"):
        assert vocabulary[each.get("CVE_REF", "")] == each.findtext("ANNOTATION_VALUE")
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert (media.get("MEDIA_URL"), media.get("MIME_TYPE")) == ((tmp_path / "a b.mp4").as_uri(), "video/mp4")
    order = [child.tag for child in root]
    assert order == ["HEADER", "TIME_ORDER", "TIER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONTROLLED_VOCABULARY"]


def test_elan_names_no_video_that_cannot_be_played_again():
    assert "MEDIA_DESCRIPTOR" not in as_elan(replace(VIDEO, file="-"))


def test_formats_are_chosen_by_name():
    assert chosen_formats("csv, elan,srt") == ["srt", "elan"]
    with pytest.raises(InputError, match=r"format is 'pdf': expected some of csv, json, srt, vtt"):
        chosen_formats("csv,pdf")
