"""Write an explanation as one self-contained HTML page, with pictures inside and without scripts."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from peclip import __version__
from peclip.errors import printable
from peclip.files import write_text
from peclip.inference.explain.explanation import Explanation
from peclip.inference.explain.relevance import heated, spread
from peclip.inference.explain.texts import ClassText
from peclip.labels import label_colours

FRAMES = 64
"""Most frames on a page; of more, some that are evenly spread."""

BLOCKS = 48
"""Most blocks whose scales are shown one by one."""

CLASSES = 30
"""Most class texts on a page."""

SIDE = 112
"""Pixels of a side of a frame."""

_VIEWS = 64
"""Most views of the frames."""

_SHOWN = ",".join(f"#view{number}:checked~.view:nth-of-type({number + 1})" for number in range(_VIEWS))

STYLE = (
    """
:root{color-scheme:light dark;--back:#ffffff;--front:#1d1d1f;--soft:#6b6b70;--line:#d9d9de;--for:#0072b2;--against:#d55e00;
--warn:#b3261e;--own:#eef5fb}
@media (prefers-color-scheme:dark){:root{--back:#141416;--front:#ececf0;--soft:#a0a0a8;--line:#3a3a40;--for:#56b4e9;
--against:#e69f00;--warn:#ff8a80;--own:#1c2a36}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--front);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem}p{max-width:75ch;overflow-wrap:anywhere}
small,.view p{color:var(--soft)}
.caution{color:var(--warn);font-weight:600}
.views>input{position:absolute;opacity:0}
.views>label{display:inline-block;margin:0 6px 6px 0;padding:4px 12px;border:1px solid var(--line);border-radius:999px;cursor:pointer}
.views>input:checked+label{background:var(--front);color:var(--back);border-color:var(--front)}
.views>input:focus-visible+label{outline:3px solid var(--for)}
.view{display:none}
.strip{display:flex;flex-wrap:wrap;gap:10px;padding:0;margin:0;list-style:none}
.strip li{width:112px}.strip img{display:block;border-radius:6px}
.strip small{display:block;white-space:nowrap}
.bar{display:block;position:relative;height:10px;margin-top:4px;background:var(--line);border-radius:2px}
.bar::after{content:"";position:absolute;left:50%;top:-2px;bottom:-2px;border-left:1px solid var(--soft)}
.bar i{position:absolute;top:0;bottom:0;border-radius:2px}.for{background:var(--for)}.against{background:var(--against)}
section{overflow-x:auto}
table{border-collapse:collapse;width:100%}th,td{padding:6px 12px 6px 6px;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}td{font-variant-numeric:tabular-nums}.own{background:var(--own)}
.units{list-style:none;margin:0;padding:0}.units li{display:grid;grid-template-columns:minmax(120px,1fr) 140px 52px;gap:10px;
align-items:center}.units small{text-align:right}.units .bar{margin:0}
@media (max-width:640px){thead{display:none}tbody tr{display:block;border-bottom:1px solid var(--line);padding:6px 0}
th,td{display:inline-block;border:0}td:last-child{display:block}td::before{content:attr(data-name);color:var(--soft)}}
svg rect{fill:none;stroke:var(--line)}polyline{fill:none;stroke:var(--for);stroke-width:2}.up{stroke-dasharray:5 3}
"""
    + _SHOWN
    + "{display:block}\n"
)
"""The style sheet."""


def write_page(path: Path, found: Explanation) -> None:
    """Write the page."""
    title = f"Explanation of {escape(printable(found.name))}"
    parts = [_answer(found), _views(found), _texts(found), _curves(found), _notes(found)]
    write_text(
        path,
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="peclip {__version__}">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{"".join(part for part in parts if part)}
</main>
</body>
</html>
""",
    )


def _answer(found: Explanation) -> str:
    best, caution = int(found.probabilities.argmax()), found.caution
    explained = "" if best == found.place else f" Explained is <b>{_name(found.label)}</b>."
    warning = f'<p class="caution">{escape(caution)}</p>' if caution else ""
    return f"""<p>Answer: <b>{_name(found.labels[best])}</b>, probability {found.probabilities[best]:.1%}.{explained}
{len(found.frames)} of {found.count} frames were read: {_name(found.file)}</p>
{f"<p>{escape(found.face)}</p>" if found.face else ""}
{warning}
"""


def _views(found: Explanation) -> str:
    """Return rows of frames, one of which is shown: as they are, and with heat."""
    chosen = spread(len(found.frames), FRAMES)
    frames, label, share = found.frames[chosen], _name(found.label), found.from_prompts.mean()
    views = {
        f"for {label}": (
            heated(frames, found.gradient[chosen], float(found.gradient.max())),
            f"Where the model looks for {label}: attention that raises its logit above the mean of the others, rolled out over all blocks.",
        ),
        "anything": (
            heated(frames, found.rollout[chosen], float(found.rollout.max())),
            f"Where the model looks at all: attention rolled out over all blocks, {1 - share:.1%} to the frames, the rest to prompts.",
        ),
        "frames": (frames, "The frames as the model sees them."),
    }
    scales = found.scale_maps()
    for place, block in enumerate([*found.scales][:BLOCKS]):
        scale = scales[place]
        words = (
            f"Scale of the temporal dynamic adapter in block {block}: how much it adds at each place of a frame. "
            f"The hottest colour is {scale.max():.2f}, the mean {scale.mean():.2f}."
        )
        views[f"TDA {block}"] = heated(frames, scale[chosen], float(scale.max())), words
    buttons, rows = [], []
    for number, (name, (pictures, words)) in enumerate(views.items()):
        checked = " checked" if number == 0 else ""
        buttons.append(
            f'<input type="radio" name="view" id="view{number}"{checked}><label for="view{number}">{name}</label>'
        )
        rows.append(f'<div class="view"><p>{words}</p><ol class="strip">{_strip(found, chosen, pictures)}</ol></div>')
    return f"""<section><h2>Frames</h2>
<p>The bar below a frame is what it adds to the logit of {label}, against the mean of the other classes: the change when the
frame is omitted.</p>
<div class="views">{"".join(buttons)}{"".join(rows)}</div></section>
"""


def _strip(found: Explanation, chosen: np.ndarray, pictures: np.ndarray) -> str:
    worth = found.worth
    largest = max(float(np.abs(worth).max()), 1e-9)
    return "".join(
        f'<li><img src="{_data(picture)}" alt="frame {found.numbers[place]}" width="{SIDE}" height="{SIDE}">'
        f"{_bar(float(worth[place]), largest)}<small>frame {found.numbers[place]}<br>{worth[place]:+.2f}</small></li>"
        for place, picture in zip(chosen.tolist(), pictures, strict=True)
    )


def _texts(found: Explanation) -> str:
    own = [text for text in found.texts if text.label == found.label]
    shown = [*found.texts[:CLASSES], *(text for text in own if text not in found.texts[:CLASSES])]
    colours = dict(zip(found.labels, label_colours(found.labels), strict=True))
    hidden = len(found.texts) - len(shown)
    largest = max((abs(unit.worth) for text in shown for unit in text.units), default=1.0) or 1.0
    rows = "".join(_row(text, found.label, colours[text.label], largest) for text in shown)
    more = f"<p>{hidden:,} classes with lower logits are not shown.</p>" if hidden else ""
    return f"""<section><h2>Texts</h2>
<p>Each class has a text, or several. The parts of a text, or else the texts, are sorted by what they add to the logit of their
class: the change when one is omitted. All bars share one scale.</p>
<table><thead><tr><th>class</th><th>probability</th><th>logit</th><th>parts of its text, or its texts</th></tr></thead>
<tbody>{rows}</tbody></table>{more}</section>
"""


def _row(text: ClassText, label: str, colour: str, largest: float) -> str:
    units = "".join(
        f"<li><span>{_name(unit.name)}</span>{_bar(unit.worth, largest)}<small>{unit.worth:+.2f}</small></li>"
        for unit in text.units
    )
    words = f'<ul class="units">{units}</ul>' if units else _name(text.text or "its tokens only are known")
    own = ' class="own"' if text.label == label else ""
    head = f'<th style="border-left:6px solid {colour}">{_name(text.label)}</th>'
    numbers = f'<td>{text.probability:.1%}</td><td data-name="logit ">{text.logit:.2f}</td>'
    return f"<tr{own}>{head}{numbers}<td>{words}</td></tr>"


def _curves(found: Explanation) -> str:
    """Return the curves of deletion and insertion as a table, which needs no drawing."""
    if not found.curves:
        return ""
    names = {
        "gradient": f"where it looks for {_name(found.label)}",
        "rollout": "where it looks at all",
        "random": "random",
    }
    rows = "".join(
        f'<tr><th>{words}</th><td data-name="deletion ">{found.curves[name].areas[0]:.3f}</td>'
        f'<td data-name="insertion ">{found.curves[name].areas[1]:.3f}</td>'
        f"<td>{_plot(found.curves[name].deletion, found.curves[name].insertion)}</td></tr>"
        for name, words in names.items()
    )
    return f"""<section><h2>Is that what counts?</h2>
<p>Patches of all frames are deleted, the hottest first, and the probability of {_name(found.label)} falls; or they are inserted into a
blurred clip, and it rises. The faster, the better a map names what the answer depends on. The area under the curve of deletion
should be below that of random orders, that of insertion above.</p>
<table><thead><tr><th>order</th><th>deletion</th><th>insertion</th>
<th>probability while patches are deleted (solid), inserted (dashed)</th></tr></thead>
<tbody>{rows}</tbody></table></section>
"""


def _plot(deletion: np.ndarray, insertion: np.ndarray) -> str:
    """Return two curves from 0 to 1 as a small drawing."""
    lines = "".join(
        f'<polyline class="{kind}" points="'
        + " ".join(
            f"{2 + 196 * x:.1f},{2 + 46 * (1 - y):.1f}"
            for x, y in zip(np.linspace(0, 1, len(values)), values, strict=True)
        )
        + '"/>'
        for kind, values in (("down", deletion), ("up", insertion))
    )
    return f'<svg viewBox="0 0 200 50" width="200" height="50" role="img" aria-label="curves"><rect width="200" height="50"/>{lines}</svg>'


def _notes(found: Explanation) -> str:
    return f"""<section><h2>How to read it</h2>
<p>Heat shows what the model uses, not what is true: a model that is wrong looks at something, too. Colours of one row share one
scale, so that its frames can be compared. What the temporal adapters carry from frame to frame is in the bars and in the heat for a
class, not in the heat for anything. All numbers are in the npz file beside this page. Written by peclip {__version__}.</p></section>
"""


def _bar(value: float, largest: float) -> str:
    """Return a bar from the middle: to the right for values above 0, to the left for values below."""
    share = 50 * min(abs(value) / largest, 1.0)
    kind, side = ("for", "left") if value >= 0 else ("against", "right")
    return f'<span class="bar"><i class="{kind}" style="{side}:50%;width:{share:.1f}%"></i></span>'


def _data(picture: np.ndarray) -> str:
    """Return a picture as a data URL."""
    file = BytesIO()
    Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _name(text: str) -> str:
    return escape(printable(text))
