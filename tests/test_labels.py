"""Class texts: one for every expression of every benchmark, the seven to the letter, each made of FACS' own names."""

import pytest

from peclip.class_texts import ACTION_UNITS, class_texts
from peclip.data.benchmarks.actors import CREMAD_LABELS, RAVDESS_LABELS
from peclip.data.benchmarks.mafw import LABELS as MAFW_LABELS
from peclip.errors import InputError
from peclip.labels import COLUMNS, KNOWN, SEVEN, canonical, class_names, column, label_of, ordered

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


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("brush_hair", "a video of a person brush hair"),
        ("ApplyEyeMakeup", "a video of a person apply eye makeup"),
        ("iPhone", "a video of a person iPhone"),
        ("happy", "a video of a person happiness"),
    ],
)
def test_a_template_writes_the_name_of_a_class_as_words(label, text):
    assert class_texts([label, "x"], "a video of a person {label}")[0] == text


def test_classes_that_a_template_cannot_distinguish_are_refused():
    with pytest.raises(InputError, match="same text for 'brush_hair' and 'brush hair'"):
        class_texts(["brush_hair", "brush hair"], "{label}")


def test_a_label_without_a_text_is_named_with_what_to_do():
    with pytest.raises(InputError, match=r"texts is missing 'boredom' \(known: happiness, .*\): add a text for it"):
        class_texts(["happiness", "boredom"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" Angry ", "anger"),
        ("very\u00a0bored", "very bored"),
        ("\u3000very \u2009 bored\u00a0", "very bored"),
        ("\u00a0happy", "happiness"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("1e3", "1e3"),
        ("null", "null"),
        ("-1", "-1"),
        ("+0.5", "+0.5"),
        ("+/-", "+/-"),
        ("-1 to 0", "-1 to 0"),
        ("@home", "@home"),
        ("[/]", "[/]"),
        ("\u4e2d\u6587", "\u4e2d\u6587"),
    ],
)
def test_spellings_of_one_name_become_one_and_no_other_name_changes(name, expected):
    assert class_names([name, "other"]) == (expected, "other")
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\tb", r"'a\\tb' is not a class name: it contains the control character '\\t', remove it"),
        ("a\nb", r"contains the control character '\\n'"),
        ("\x1b[31mred", r"contains the control character '\\x1b'"),
        ("a\u2028b", r"contains the control character '\\u2028'"),
        ("a\udcffb", r"contains the control character '\\udcff'"),
        ("a\u202eb", r"contains the control character '\\u202e'"),
        ("", "'' is not a class name: it is empty"),
        ("=1+1", "'=1.1' is not a class name: spreadsheets would compute it, begin with a letter"),
        ("@SUM(A1)", "spreadsheets would compute it"),
        ("-2+3+cmd|' /C calc'!A0", "spreadsheets would compute it"),
        (" \u00a0\u200d", "is not a class name: it is empty"),
        ("x" * 1001, r"'x+\.\.\.x+' is not a class name: it has 1,001 characters, expected at most 1,000"),
    ],
)
def test_a_name_that_files_or_terminals_do_not_keep_is_refused(name, message):
    with pytest.raises(InputError, match=message) as caught:
        class_names(["fear", name])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("twin", ["very bored", "very\u00a0bored", " very  bored"])
def test_two_spellings_of_one_class_are_refused(twin):
    with pytest.raises(InputError, match="duplicate label"):
        class_names(["very bored", twin])


def test_a_number_of_classes_that_is_a_mistake_is_refused_at_once():
    with pytest.raises(InputError, match="labels has 200,000 names, expected at most 10,000"):
        class_names([str(number) for number in range(200_000)])


def test_texts_are_found_under_any_spelling_of_their_label():
    assert class_texts(["very bored", "happiness"], {"very\u00a0bored": "a", "Happy": "b"}) == ["a", "b"]
    with pytest.raises(InputError, match="texts has two texts for 'happiness': remove one"):
        class_texts(["happiness"], {"happy": "a", "happiness": "b"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", "texts has an empty text for 'fear': write one"),
        ("x" * 10_001, "texts has 10,001 characters for 'fear', expected at most 10,000"),
        ("a\ud800", "texts has half a character in the text for 'fear'"),
        ("b ", "texts has the same text for 'anger' and 'fear', which no model could distinguish: change one"),
    ],
)
def test_a_text_that_is_none_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        class_texts(["anger", "fear"], {"anger": "b", "fear": text})


@pytest.mark.parametrize("label", ["path", "path_", "path__", "truth", "predicted", "fear", "fear_", "_", "label"])
def test_every_label_has_a_column_of_its_own(label):
    assert label_of(column(label)) == label
    assert column(label) not in COLUMNS
