"""The answer as a person reads it: HTML in which everything that comes from the visitor is escaped."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from peclip.errors import counted
from peclip.inference.app.answer import Answer
from peclip.inference.app.looks import Look
from peclip.inference.persons import Person, as_image
from peclip.inference.progress import span
from peclip.inference.recognizer import Row
from peclip.labels import are_expressions, label_colours

MOST_SHOWN = 8
"""Most persons that are shown one by one, and most classes of each; the files have all."""

MOST_FRAMES = 16
"""Most frames in the filmstrip of a person."""

_STILL = 88  # pixels of a frame in the filmstrip

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def empty_of(is_about_faces: bool) -> str:
    """Return the text that is shown before there is an answer."""
    what = "who is seen, when, and what each face shows" if is_about_faces else "what the video shows, and when"
    return f'<div class="pe-empty">The answer appears here: {what}.</div>'


def head_of(labels: Sequence[str], caution: str | None, is_about_faces: bool = True) -> str:
    """Return the head of the page of a model with these classes, with its caution if it has one."""
    note = f'<div class="pe-answer"><p class="pe-caution" role="note">{escaped(caution)}</p></div>' if caution else ""
    faces = are_expressions(labels)
    if not is_about_faces:
        return (
            '<div class="pe-head"><h1>Which class does a video show?</h1><p>Give a video. peclip says which class it shows, '
            f"and when.</p>{note}</div>"
        )
    what, warning = ("expression", " An expression is not a feeling.") if faces else ("class", "")
    return (
        f'<div class="pe-head"><h1>Which {what} does a face show?</h1><p>Give a video. peclip finds the faces in it, follows '
        f"them, and says which {what} each shows, and when.{warning}</p>{note}</div>"
    )


def page_of(answer: Answer, download: str) -> str:
    """Return the page of an answer.

    Args:
        answer: answer for a video.
        download: address of the zip with all files.
    """
    persons = sorted(answer.persons, key=lambda person: -person.seconds)[:MOST_SHOWN]
    colours = dict(zip(answer.labels, label_colours(answer.labels), strict=True))
    count = len(answer.persons)
    end = max((row.end for row in answer.rows), default=0.0)
    facts = f"{escaped(answer.name)} · {span(end)} · {counted(count, 'person')}"
    caution = f'<p class="pe-caution" role="note">{escaped(answer.caution)}</p>' if answer.caution else ""
    if not persons:
        caution += '<p class="pe-caution" role="note">No face was found in this video.</p>'
    rest = f"<p>{count - len(persons)} more are in the files.</p>" if count > len(persons) else ""
    cards = "".join(_card(person, answer, colours) for person in sorted(persons, key=lambda each: each.track))
    timeline = _picture(answer.timeline.read_bytes(), "png", "Probabilities of each class over time")
    return (
        f'<section class="pe-answer" aria-live="polite"><p class="pe-facts">{facts}</p>{caution}{cards}{rest}'
        f'<h2>Timeline</h2><div class="pe-scroll pe-timeline" tabindex="0">{timeline}</div>'
        f'<p><a class="pe-download" href="{escaped(download)}" download>Download all files (zip)</a></p>'
        '<p class="pe-small">Tables, subtitles, annotations for ELAN, and pictures, as peclip recognize writes them.</p></section>'
    )


def looks_of(looks: Sequence[Look], person: int, labels: Sequence[str]) -> str:
    """Return the heat maps of some windows of a person.

    Args:
        looks: frames with heat of each window, in order of time.
        person: number of the person.
        labels: class names.
    """
    colours = dict(zip(labels, label_colours(labels), strict=True))
    windows = "".join(_look(look, colours) for look in looks)
    return (
        f'<section class="pe-answer" aria-live="polite"><article class="pe-person pe-looks"><h3>Where the model looked: Person {person}</h3>'
        "<p>Heat is attention that raises the answer of the window. It shows what the model used, not what is true. Colours of a "
        f"window share one scale.</p>{windows}</article></section>"
    )


def _look(look: Look, colours: dict[str, str]) -> str:
    row = look.row
    assert row.label is not None
    chance, times = f"{100 * row.probabilities[row.label]:.0f} %", f"{row.start:.1f} to {row.end:.1f} s"
    frames = "".join(
        f"<li>{_still(Image.fromarray(frame), f'heat for {row.label}, frame {number} of {len(look.frames)}')}</li>"
        for number, frame in enumerate(look.frames, 1)
    )
    return (
        f'<h4><b style="border-bottom:3px solid {colours[row.label]}">{escaped(row.label)}</b> {chance} · {times}</h4>'
        f'<ol class="pe-scroll pe-film pe-heat" tabindex="0">{frames}</ol>'
    )


def error_of(message: str) -> str:
    """Return the page of an error."""
    return (
        f'<section class="pe-answer"><p class="pe-error" role="alert"><b>That did not work.</b><br>{escaped(message)}</p>'
        "</section>"
    )


def escaped(text: str) -> str:
    """Return a text, escaped for HTML and for Gradio's templates."""
    return html.escape(text).replace("$", "&#36;").replace("{", "&#123;")


def _card(person: Person, answer: Answer, colours: dict[str, str]) -> str:
    """Return the card of a person; the caution about every answer of the model is shown once, above the cards."""
    most = sorted(zip(answer.labels, person.probabilities, strict=True), key=lambda pair: -pair[1])[:MOST_SHOWN]
    bars = "".join(
        f'<li><span>{escaped(label)}</span><span class="pe-bar"><i style="width:{100 * value:.1f}%;'
        f'background:{colours[label]}"></i></span><span>{100 * value:.0f} %</span></li>'
        for label, value in most
    )
    file, label = answer.folder / person.picture, answer.labels[person.label]
    picture = _picture(file.read_bytes(), "jpeg", f"Person {person.track}") if file.is_file() else ""
    caution = f'<p class="pe-caution">{escaped("; ".join(person.warnings))}</p>' if person.warnings else ""
    share = 100 * person.shares[person.label]
    return (
        f'<article class="pe-person"><header>{picture}<div><h3>Person {person.track}</h3>'
        f'<p class="pe-label" style="border-color:{colours[label]}">{escaped(label)}</p>'
        f"<p>for {share:.0f} % of the {span(person.seconds)} in sight ({person.first:.1f} to {person.last:.1f} s)</p>"
        f'</div></header>{caution}<h4>Mean probabilities</h4><ul class="pe-bars">{bars}</ul>'
        f'<h4>Filmstrip</h4><ol class="pe-scroll pe-film" tabindex="0">{_film(person.track, answer.rows, colours)}</ol></article>'
    )


def _film(number: int, rows: Sequence[Row], colours: dict[str, str]) -> str:
    """Return frames of a person with the label of each window; of too many, some that are evenly spread."""
    own = [row for row in rows if row.track == number and row.label and row.picture is not None]
    step = max(1.0, len(own) / MOST_FRAMES)
    frames = []
    for row in (own[int(place * step)] for place in range(min(len(own), MOST_FRAMES))):
        assert row.picture is not None
        assert row.label is not None
        still = _still(as_image(row.picture), f"{row.label} at {(row.start + row.end) / 2:.1f} s")
        chance = f"{100 * row.probabilities[row.label]:.0f} %"
        frames.append(
            f'<li style="border-color:{colours[row.label]}">{still}<b>{escaped(row.label)}</b>'
            f"<span>{chance} · {(row.start + row.end) / 2:.1f} s</span></li>"
        )
    return "".join(frames)


def _still(picture: Image.Image, text: str) -> str:
    file = io.BytesIO()
    picture.resize((_STILL, _STILL)).save(file, "jpeg", quality=85)
    return _picture(file.getvalue(), "jpeg", text)


def _picture(data: bytes, kind: str, text: str) -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" alt="{escaped(text)}">'
