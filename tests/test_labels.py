"""Class texts: one for every expression of every benchmark, the seven to the letter, each made of FACS' own names."""

import pytest

from peclip.data.benchmarks.actors import CREMAD_LABELS, RAVDESS_LABELS
from peclip.data.benchmarks.mafw import LABELS as MAFW_LABELS
from peclip.errors import InputError
from peclip.labels import ACTION_UNITS, KNOWN, SEVEN, class_texts, ordered

RELEASED = [
    "Cheek Raiser, Lip Corner Puller.",
    "Inner Brow Raiser, Brow Lowerer, Lip Corner Depressor.",
    "Relaxed Muscles, Even Eyebrows, Closed Lips, Calm Eyes, Smooth Forehead.",
    "Brow Lowerer, Upper Lid Raiser, Lid Tightener, Lip Tightener.",
    "Inner Brow Raiser, Outer Brow Raiser, Upper Lid Raiser, Jaw Drop.",
    "Nose Wrinkler, Lip Corner Depressor, Lower Lip Depressor.",
    "Inner Brow Raiser, Outer Brow Raiser, Brow Lowerer, Upper Lid Raiser, Lid Tightener, Lip Stretcher, Jaw Drop.",
]

FACS = {
    *("Inner Brow Raiser", "Outer Brow Raiser", "Brow Lowerer", "Upper Lid Raiser", "Cheek Raiser", "Lid Tightener"),
    *("Nose Wrinkler", "Upper Lip Raiser", "Lip Corner Puller", "Dimpler", "Lip Corner Depressor"),
    *("Lower Lip Depressor", "Chin Raiser", "Lip Stretcher", "Lip Tightener", "Lip Pressor", "Jaw Drop", "Lip Bite"),
    *("Eyes Down", "Head Down"),
}


def test_the_texts_of_the_seven_are_the_released_ones_to_the_letter():
    assert class_texts(SEVEN) == RELEASED


@pytest.mark.parametrize(
    ("labels", "count"), [(SEVEN, 7), (RAVDESS_LABELS, 8), (MAFW_LABELS, 11), (CREMAD_LABELS, 6)], ids=str
)
def test_every_class_of_a_benchmark_has_a_text_of_its_own(labels, count):
    assert len(set(class_texts(ordered(labels)))) == count


@pytest.mark.parametrize("label", ["contempt", "anxiety", "helplessness", "disappointment"])
def test_the_further_expressions_are_made_of_units_by_their_names_in_facs(label):
    units = ACTION_UNITS[label].removesuffix(".").split(", ")
    assert {unit.removeprefix("One-Sided ") for unit in units} <= FACS


def test_every_known_expression_has_a_text():
    assert set(ACTION_UNITS) == set(KNOWN)


def test_a_label_without_a_text_is_named_with_what_to_do():
    with pytest.raises(InputError, match=r"texts is missing 'boredom' \(known: happiness, .*\): add a text for it"):
        class_texts(["happiness", "boredom"])
