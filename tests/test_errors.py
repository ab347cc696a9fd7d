"""One line of an error."""

import pickle

import pytest

from peclip.errors import InputError, counted, first_line, in_one_line, options_below, shown


def test_the_first_line_of_a_message_or_the_type_of_the_error():
    assert first_line(ValueError("\n torn at byte 3 \nand a long explanation")) == "torn at byte 3"
    assert (first_line(KeyError()), in_one_line(TimeoutError("  "))) == ("KeyError", "TimeoutError")


def test_of_a_traceback_the_last_line_is_the_message():
    wrapped = "Traceback:\n  File ...\npeclip.errors.InputError: clip 3 cannot be read"
    assert in_one_line(RuntimeError(wrapped)) == "clip 3 cannot be read"


def test_a_value_is_shown_on_one_short_line():
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown(list(range(1000)))) == 80


def test_errors_about_an_argument_name_its_option_below_a_section():
    with pytest.raises(InputError) as caught, options_below("model"), options_below("net"):
        raise InputError("texts is missing 'bored': add texts['bored']", "texts")
    assert str(caught.value) == "model.net.texts is missing 'bored': add texts['bored']"
    assert caught.value.arguments == ("model.net.texts",)


def test_an_advised_none_is_null_on_the_command_line():
    with (
        pytest.raises(InputError, match=r"^model\.net\.norms is None\.mp4, expected both or null$"),
        options_below("model.net"),
    ):
        raise InputError("norms is None.mp4, expected both or None", "norms")


def test_each_argument_of_an_error_is_named_once_and_only_as_a_whole_word():
    with pytest.raises(InputError) as caught, options_below("data"):
        raise InputError("/root/manifest.csv: root, manifest or rooted, one manifest", "root", "manifest")
    assert str(caught.value) == "/root/manifest.csv: data.root, data.manifest or rooted, one manifest"


def test_errors_without_an_argument_are_the_same_below_a_section():
    with pytest.raises(InputError, match=r"^a\.mp4 is torn$"), options_below("model"):
        raise InputError("a.mp4 is torn")


def test_an_error_keeps_its_argument_between_processes():
    error = pickle.loads(pickle.dumps(InputError("texts is empty", "texts")))
    assert (str(error), error.arguments) == ("texts is empty", ("texts",))


def test_a_number_of_things_is_written_in_words_that_agree():
    assert counted(1, "test clip") == "1 test clip"
    assert [counted(number, "class") for number in (0, 1, 2)] == ["0 classes", "1 class", "2 classes"]
    assert counted(1234, "frame") == "1,234 frames"
