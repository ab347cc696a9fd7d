"""Draw an explanation as one picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peclip.inference.explain.explanation import Explanation
from peclip.inference.explain.relevance import heated, spread
from peclip.labels import label_colours
from peclip.results.figures import new_figure, save, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

FRAMES = 16
"""Most frames that a picture shows; of more, some that are evenly spread."""

FEWEST, WIDTH = 8, 11.4
"""Columns for which there is at least room, and the width of all of them in inches."""

CLASSES = 10
"""Most class texts that a picture shows."""

FOR, AGAINST = "#0072b2", "#d55e00"
"""Colours of what speaks for a class and against it; blue and orange are distinguished without red and green, too."""


def draw_explanation(path: Path, found: Explanation) -> None:
    """Draw frames, heat maps, the worth of each frame, the scales of the TDA, class texts and curves into a png file."""
    chosen = spread(len(found.frames), FRAMES)
    strips = _strips(found, chosen)
    side = WIDTH / max(len(chosen), FEWEST)
    high = side * len(strips) + 1.7 + (1.7 if found.scales else 0.0)
    figure = new_figure(13, 0.9 + high + 3.6)
    title = f"{found.name}\n{_answer(found)}".encode(errors="replace").decode()[-220:]
    figure.suptitle(f"{title}\n{found.face}".strip(), parse_math=False, fontsize=12)
    halves = figure.subfigures(2, 1, height_ratios=[high, 3.6], squeeze=False)[:, 0]
    _draw_time(halves[0], found, chosen, strips, side)
    _draw_texts(halves[1], found)
    save(figure, path, dpi=110)


def _answer(found: Explanation) -> str:
    best = int(found.probabilities.argmax())
    answer = f"answer: {shortened(found.labels[best])} ({found.probabilities[best]:.1%})"
    own = f"explained: {shortened(found.label)} ({found.probabilities[found.place]:.1%})"
    return answer if best == found.place else f"{answer}; {own}"


def _strips(found: Explanation, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows of pictures by their names, uint8 (N, S, S, 3)."""
    frames = found.frames[chosen]
    strips = {
        "frames": frames,
        f"where it looks\nfor {shortened(found.label)}": heated(
            frames, found.gradient[chosen], float(found.gradient.max())
        ),
        "where it looks": heated(frames, found.rollout[chosen], float(found.rollout.max())),
    }
    if found.scales:
        scale = found.scale_maps().mean(axis=0)
        strips["TDA scale\n(mean of blocks)"] = heated(frames, scale[chosen], float(scale.max()))
    return strips


def _draw_time(
    figure: "SubFigure", found: Explanation, chosen: np.ndarray, strips: dict[str, np.ndarray], side: float
) -> None:
    """Draw the parts that have a column for each frame; its width is in inches."""
    count, scaled = len(chosen), bool(found.scales)
    ratios = [side] * len(strips) + [1.5] + [1.5] * scaled
    axes = figure.subplots(len(ratios), 1, height_ratios=ratios, sharex=True)
    for place, (name, pictures) in enumerate(strips.items()):
        row = axes[place]
        for column, picture in enumerate(pictures):
            row.imshow(picture, extent=(column + 0.02, column + 0.98, 0, 1), aspect="auto", interpolation="bilinear")
        row.set(xlim=(0, max(count, FEWEST)), ylim=(0, 1), yticks=[])
        row.set_ylabel(name, rotation=0, ha="right", va="center", parse_math=False)
        row.spines[:].set_visible(False)
        row.tick_params(bottom=False)
    _draw_worth(axes[len(strips)], found, chosen)
    if scaled:
        _draw_scales(figure, axes[-1], found, chosen)
    if found.caution:
        axes[0].set_title(found.caution, color="#b3261e", fontsize=9, parse_math=False)
    numbers = found.numbers[chosen]
    axes[-1].set_xticks(np.arange(count) + 0.5, [str(number) for number in numbers])
    axes[-1].set_xlabel(f"frame of the clip, 0 to {found.count - 1}")


def _draw_worth(axes: "Axes", found: Explanation, chosen: np.ndarray) -> None:
    worth = found.worth[chosen]
    axes.bar(np.arange(len(chosen)) + 0.5, worth, width=0.7, color=np.where(worth >= 0, FOR, AGAINST))
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.margins(y=0.15)
    axes.set_ylabel("what the frame\nadds to the\nlogit (margin)", rotation=0, ha="right", va="center")
    axes.grid(axis="y", alpha=0.3)


def _draw_scales(figure: "SubFigure", axes: "Axes", found: Explanation, chosen: np.ndarray) -> None:
    """Draw the mean scale of the patches, a row for each block."""
    scales = found.scale_maps()[:, chosen].mean(axis=(2, 3))
    high = len(scales)
    image = axes.imshow(scales, extent=(0, len(chosen), high, 0), aspect="auto", cmap="cividis", vmin=0)
    blocks = spread(high, 8)
    axes.set_yticks(blocks + 0.5, [str([*found.scales][block]) for block in blocks])
    axes.set_ylabel("TDA scale,\nby block", rotation=0, ha="right", va="center")
    figure.colorbar(image, ax=axes, location="right", shrink=0.9, pad=0.005, aspect=8)


def _draw_texts(figure: "SubFigure", found: Explanation) -> None:
    """Draw the classes by their probability, the parts of the text of the class, and the curves."""
    places = figure.subplots(1, 2 + bool(found.curves), width_ratios=[1, 1.1, 1.1][: 2 + bool(found.curves)])
    classes, units = places[:2]
    shown = found.texts[:CLASSES]
    rows = np.arange(len(shown))
    by_label = dict(zip(found.labels, label_colours(found.labels), strict=True))
    colours = [by_label[text.label] for text in shown]
    classes.barh(rows, [text.logit for text in shown], color=colours)
    for row, text in enumerate(shown):
        classes.annotate(
            f"{text.probability:.1%}", (max(text.logit, 0), row), (3, 0), va="center", textcoords="offset points"
        )
    classes.set_yticks(rows, [shortened(text.label) for text in shown], parse_math=False)
    classes.invert_yaxis()
    classes.margins(x=0.3)
    classes.set(title="class texts", xlabel="logit; beside it the probability")
    own = next(text for text in found.texts if text.label == found.label)
    _draw_units(units, own.units[:CLASSES], found.label)
    if found.curves:
        _draw_curves(places[2], found)


def _draw_units(axes: "Axes", units: Any, label: str) -> None:
    rows, worth = np.arange(len(units)), np.array([unit.worth for unit in units])
    if len(units):
        axes.barh(rows, worth, color=np.where(worth >= 0, FOR, AGAINST))
    else:
        axes.text(0.5, 0.5, "its text has one part, or is not known", ha="center", transform=axes.transAxes)
    axes.axvline(0, color="#666666", linewidth=0.8)
    axes.set_yticks(rows, [shortened(unit.name) for unit in units], parse_math=False)
    axes.invert_yaxis()
    axes.set_title(f"parts of the text of {shortened(label)}", parse_math=False)
    axes.set_xlabel("what the part adds to the logit")


def _draw_curves(axes: "Axes", found: Explanation) -> None:
    """Draw the curves of deletion and insertion of the map for the class, against random."""
    for name, colour, words in (("gradient", FOR, "by heat"), ("random", "#8c8c8c", "at random")):
        curve = found.curves[name]
        share = np.linspace(0, 1, len(curve.deletion))
        down, up = curve.areas
        axes.plot(share, curve.deletion, "o-", color=colour, markersize=3, label=f"deleted {words}: area {down:.2f}")
        axes.plot(share, curve.insertion, "s--", color=colour, markersize=3, label=f"inserted {words}: {up:.2f}")
    axes.set(ylim=(-0.02, 1.02), title="deletion and insertion of patches", xlabel="share of the patches")
    axes.set_ylabel(f"probability of {shortened(found.label)}", parse_math=False)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    axes.grid(alpha=0.3)
