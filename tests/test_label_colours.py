"""Colours of the labels: distinguished with any colour blindness, by simulation, and readable on white and on black."""

from itertools import combinations

import numpy as np
import pytest

from peclip.labels import COLOURS, KNOWN, SEVEN, ink, label_colours

SIMULATED = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Matrices on linear RGB of Machado, Oliveira and Fernandes (2009), https://doi.org/10.1109/TVCG.2009.113, severity 1."""

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour):
    """A colour such as #dd9d0b as linear RGB, (3,)."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Linear RGB in CIELAB, where a distance of 2 can just be seen."""
    share = TO_XYZ @ rgb / TO_XYZ.sum(axis=1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours, sight):
    """The smallest distance between two colours as somebody sees them."""
    seen = [lab(np.clip(np.array(SIMULATED[sight]) @ linear(colour), 0, 1)) for colour in colours]
    return min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))


def contrast(one, other):
    """The contrast of two colours as WCAG defines it, 1 to 21."""
    high, low = sorted((float(TO_XYZ[1] @ linear(each)) for each in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("sight", SIMULATED)
def test_labels_are_distinguished_with_any_colour_blindness(sight):
    assert nearest([COLOURS[label] for label in SEVEN], sight) > 28
    assert nearest(COLOURS.values(), sight) > 17


def test_the_simulation_finds_red_and_green_of_one_lightness():
    assert nearest(["#c7522a", "#7d7d24"], "none") > 40
    assert nearest(["#c7522a", "#7d7d24"], "deuteranopia") < 17


@pytest.mark.parametrize("label", COLOURS)
def test_every_colour_stands_out_on_white_and_on_black_and_text_on_it_is_readable(label):
    colour = COLOURS[label]
    assert contrast(colour, "#ffffff") > 2.2
    assert contrast(colour, "#141416") > 2.2
    assert contrast(colour, {"black": "#000000", "white": "#ffffff"}[ink(colour)]) > 3.9


def test_every_expression_has_a_colour_and_others_get_those_that_are_free():
    assert {*COLOURS} == {*KNOWN}
    assert label_colours(SEVEN) == [COLOURS[label] for label in SEVEN]
    bored = label_colours(["bored", "happiness", "excited"])
    assert bored[1] == COLOURS["happiness"]
    assert len({*bored}) == 3
    many = label_colours([f"class {number}" for number in range(30)])
    assert len({*many}) == len(COLOURS)
    assert len({*label_colours([*KNOWN, "another"])}) == len(COLOURS)
