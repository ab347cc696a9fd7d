"""Draw features as a map: clips that are close to each other in the model's space are close in the picture."""

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peclip.data.manifest import Manifest
from peclip.errors import InputError
from peclip.files import natural_key
from peclip.inference.embed import Features, columns_of
from peclip.labels import COLOURS, label_colours, ordered
from peclip.results.figures import new_figure, save, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("label", "subject", "split")
"""Columns by which a map is coloured if they have values."""

MARKERS = "osD^vP*X<>p"
"""Shapes of points, a second sign beside the colour. 11 of them and 12 colours make 132 different points."""

LISTED = 14
"""Most values in a legend."""


ALIKE = 1e-6
"""Features that differ by less than this in every direction are one point."""


def check_installed() -> None:
    """Check that scikit-learn is installed, before anything is computed.

    Raises:
        InputError: it is not.
    """
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError as error:
        raise InputError(
            "picture is tsne, which needs scikit-learn: pip install 'peclip[embed]', or set picture to none", "picture"
        ) from error


def placed(values: np.ndarray) -> tuple[str, np.ndarray]:
    """Return a method and its place in the plane for each feature, (N, D) -> (N, 2).

    The method is t-SNE, or principal components for few clips and for features that do not differ, which t-SNE cannot scale.
    """
    if len(values) < 5 or float(np.ptp(values, axis=0).max()) < ALIKE:
        centred = values - values.mean(axis=0)
        found = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
        return "principal components", np.asarray(np.pad(found, ((0, 0), (0, 2 - found.shape[1]))))
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    return "t-SNE", np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(values))


def draw_map(path: Path, clips: Manifest, found: Features, title: str) -> None:
    """Draw a map of clips into a png file, once for each column by which they can be coloured.

    Args:
        path: the picture.
        clips: the manifest.
        found: the features of some of its clips.
        title: title of the picture.
    """
    method, places = placed(found.values)
    table = clips.table.iloc[found.rows]
    columns = [name for name in SHOWN if name in columns_of(clips)] or [""]
    figure = new_figure(6.2 * len(columns), 6.6)
    figure.suptitle(f"{title}: {method} of the features of {len(places):,} of {len(clips):,} clips", parse_math=False)
    for axes, column in zip(np.atleast_1d(figure.subplots(1, len(columns))), columns, strict=True):
        values = [""] * len(places) if not column else [str(value) for value in table[column]]
        axes.set(xlabel=f"{method}, first axis", ylabel=f"{method}, second axis")
        _draw(axes, places, np.array(values), column)
    save(figure, path, dpi=110)


def _draw(axes: "Axes", places: np.ndarray, values: np.ndarray, column: str) -> None:
    names = [
        name
        for name in (ordered(values.tolist()) if column == "label" else sorted({*values.tolist()}, key=natural_key))
        if name
    ]
    colours = label_colours(names) if column == "label" else list(COLOURS.values())
    every = dict(zip(names, zip(cycle(colours or ["#666666"]), cycle(MARKERS)), strict=False)) | {"": ("#b0b0b0", ".")}
    for name, (colour, marker) in every.items():
        chosen = values == name
        if chosen.any():
            x, y = places[chosen].T
            axes.scatter(x, y, s=22, alpha=0.8, linewidths=0, color=colour, marker=marker)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"by {column}" if column else "", parse_math=False)
    axes.set_aspect("equal", "datalim")
    _draw_legend(axes, {name: every[name] for name in names[:LISTED]}, len(names))


def _draw_legend(axes: "Axes", shown: dict[str, tuple[str, str]], count: int) -> None:
    """Draw the legend of the values; of many, only the first ones."""
    from matplotlib.lines import Line2D

    signs = [Line2D([], [], linestyle="", marker=marker, color=colour) for colour, marker in shown.values()]
    if not signs:
        return
    more = f"{count} values, the first ones:" if count > len(shown) else None
    legend = axes.legend(
        signs, [""] * len(signs), title=more, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=4, frameon=False
    )
    for text, name in zip(legend.get_texts(), shown, strict=True):
        text.set(text=shortened(name), parse_math=False)
