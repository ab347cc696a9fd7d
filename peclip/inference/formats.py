"""Write the segments of a video in the formats of other programs: subtitles, and annotations for ELAN.

Subtitles are SubRip (.srt) and WebVTT (.vtt, https://www.w3.org/TR/webvtt1/). ELAN (.eaf, https://archive.mpi.nl/tla/elan) is what
psychologists and linguists annotate videos with: a tier for each face, with the classes as its controlled vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from mimetypes import guess_type
from pathlib import Path
from xml.etree import ElementTree

from peclip.errors import InputError, listed
from peclip.files import atomic_write
from peclip.inference.cautions import brief
from peclip.inference.segments import Segment
from peclip.labels import are_expressions

ALWAYS = ("csv", "json")
"""Formats that are always written, by :class:`peclip.inference.timeline.Timeline`."""

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_LANGUAGE = "und"  # ISO 639-3: undetermined


@dataclass(frozen=True)
class Annotated:
    """The segments of a video.

    Attributes:
        file: the video.
        labels: class names.
        segments: segments of the video, in any order.
        caution: sentence about every answer of the model; empty if there is none.
        is_about_faces: whether they are about faces, see :func:`peclip.inference.cautions.about_faces`.
        is_linked: whether the text may name the place of the video on this machine.
    """

    file: str
    labels: Sequence[str]
    segments: Sequence[Segment]
    caution: str
    is_linked: bool = True
    is_about_faces: bool = True


def chosen_formats(text: str) -> list[str]:
    """Return the formats of an option such as ``csv,srt`` that are not written anyway.

    Raises:
        InputError: one is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*ALWAYS, *WRITERS):
            raise InputError(
                f"format is {name!r}: expected some of {listed((*ALWAYS, *WRITERS))}, joined by commas", "format"
            )
    return [name for name in WRITERS if name in names]


def write_format(name: str, folder: Path, stem: str, video: Annotated) -> str:
    """Write a file of a format into a folder, and return its name."""
    suffix, text_of = WRITERS[name]
    file = f"{stem}{suffix}"
    with atomic_write(folder / file) as path:
        path.write_text(text_of(video), encoding="utf-8", errors="replace")
    return file


def as_srt(video: Annotated) -> str:
    """Return subtitles in SubRip's format."""
    cues = enumerate(_cues(video), start=1)
    return "\n".join(
        f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{text}\n" for number, (start, end, text) in cues
    )


def as_vtt(video: Annotated) -> str:
    """Return subtitles in WebVTT."""
    cues = (f"{_time(start, '.')} --> {_time(end, '.')}\n{_escaped(text)}\n" for start, end, text in _cues(video))
    return "\n".join(["WEBVTT\n", *cues])


def as_elan(video: Annotated) -> str:
    """Return annotations in ELAN's format."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {"AUTHOR": "peclip", "DATE": datetime.now(UTC).isoformat("T", "seconds"), "FORMAT": "3.0", "VERSION": "3.0"}
        | {"xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance", "xsi:noNamespaceSchemaLocation": _SCHEMA},
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if video.is_linked and Path(video.file).is_file():  # a pipe or a camera cannot be played again
        url, mime = Path(video.file).absolute().as_uri(), guess_type(video.file)[0] or "unknown"
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=url, MIME_TYPE=mime)
    kind = "expression" if are_expressions(video.labels) else "label"
    segments = sorted(video.segments, key=lambda each: (each.track, each.start))
    slots = _time_order(ElementTree.SubElement(root, "TIME_ORDER"), segments)
    tiers: dict[int, ElementTree.Element] = {}
    for number, segment in enumerate(segments):
        if segment.track not in tiers:
            tier = f"face {segment.track}" if video.is_about_faces else "video"
            name = {"TIER_ID": tier, "LINGUISTIC_TYPE_REF": kind}
            tiers[segment.track] = ElementTree.SubElement(root, "TIER", name)
        annotation = ElementTree.SubElement(
            ElementTree.SubElement(tiers[segment.track], "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            {"ANNOTATION_ID": f"a{number + 1}"}
            | {"TIME_SLOT_REF1": slots[2 * number], "TIME_SLOT_REF2": slots[2 * number + 1]}
            | {"CVE_REF": f"cve{segment.label + 1}"},
        )
        ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = video.labels[segment.label]
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": kind, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
        | {"CONTROLLED_VOCABULARY_REF": f"{kind}s"},
    )
    ElementTree.SubElement(root, "LANGUAGE", LANG_ID=_LANGUAGE, LANG_DEF="", LANG_LABEL="undetermined")
    vocabulary = ElementTree.SubElement(root, "CONTROLLED_VOCABULARY", CV_ID=f"{kind}s")
    ElementTree.SubElement(vocabulary, "DESCRIPTION", LANG_REF=_LANGUAGE).text = video.caution
    for number, label in enumerate(video.labels, start=1):
        entry = ElementTree.SubElement(vocabulary, "CV_ENTRY_ML", CVE_ID=f"cve{number}")
        ElementTree.SubElement(entry, "CVE_VALUE", LANG_REF=_LANGUAGE, DESCRIPTION="").text = label
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _time_order(parent: ElementTree.Element, segments: Sequence[Segment]) -> list[str]:
    """Add the starts and ends of segments in order of time, as ELAN expects them; return their ids, two for each segment."""
    times = [round(1000 * seconds) for segment in segments for seconds in (segment.start, segment.end)]
    slots = [""] * len(times)
    for number, place in enumerate(sorted(range(len(times)), key=times.__getitem__), start=1):
        slots[place] = f"ts{number}"
        ElementTree.SubElement(parent, "TIME_SLOT", TIME_SLOT_ID=slots[place], TIME_VALUE=str(times[place]))
    return slots


WRITERS: dict[str, tuple[str, Callable[[Annotated], str]]] = {
    "srt": (".srt", as_srt),
    "vtt": (".vtt", as_vtt),
    "elan": (".eaf", as_elan),
}
"""Suffix and text of each format."""


def _cues(video: Annotated) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of each stretch in which no face changes: subtitles of one time must not overlap."""
    changes = sorted({round(time, 3) for segment in video.segments for time in (segment.start, segment.end)})
    waiting = sorted(video.segments, key=lambda each: each.start)
    shown: list[Segment] = []
    for start, end in pairwise(changes):
        while waiting and round(waiting[0].start, 3) <= start:
            shown.append(waiting.pop(0))
        shown = [segment for segment in shown if round(segment.end, 3) > start]
        if shown:
            lines = [_line(video, segment) for segment in sorted(shown, key=lambda each: each.track)]
            note = [f"({brief(video.caution)})"] if video.caution else []
            yield start, end, "\n".join([*lines, *note])


def _line(video: Annotated, segment: Segment) -> str:
    cautions = f", {', '.join(segment.cautions)}" if segment.cautions else ""
    who = f"face {segment.track}: " if video.is_about_faces else ""
    return f"{who}{video.labels[segment.label]} ({segment.probabilities[segment.label]:.2f}{cautions})"


def _time(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
