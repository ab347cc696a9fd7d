"""One line of an error."""

from peclip.errors import first_line, in_one_line, shown


def test_the_first_line_of_a_message_or_the_type_of_the_error():
    assert first_line(ValueError("\n torn at byte 3 \nand a long explanation")) == "torn at byte 3"
    assert (first_line(KeyError()), in_one_line(TimeoutError("  "))) == ("KeyError", "TimeoutError")


def test_of_a_traceback_the_last_line_is_the_message():
    wrapped = "Traceback:\n  File ...\npeclip.errors.InputError: clip 3 cannot be read"
    assert in_one_line(RuntimeError(wrapped)) == "clip 3 cannot be read"


def test_a_value_is_shown_on_one_short_line():
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown(list(range(1000)))) == 80
