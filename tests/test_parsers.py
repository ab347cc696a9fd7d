"""Parsers that tests share: they are built and their defaults computed once, and each command gets them as they were."""

import signal
from functools import partial
from typing import Annotated

import pytest
from jsonargparse import ArgumentParser

from peclip.class_paths import problem_of_value
from tests.parsers import built_once
from tests.processes import AtCall, in_a_process, send


@pytest.fixture
def parser():
    parser = ArgumentParser()
    parser.add_argument("--numbers", type=list[int], default=[1, 2])
    return parser


def test_a_process_reads_its_options_with_the_parser_of_the_server(tmp_path):
    built = AtCall("peclip.train.cli.lightning:PEClipCLI.add_arguments_to_parser", 1, partial(send, signal.SIGKILL))
    assert in_a_process(tmp_path, ["fit", "--print_config"], built)[0] == 0


def test_defaults_that_a_command_has_changed_are_as_before_for_the_next(parser):
    with built_once():
        parser.get_defaults().numbers.append(3)
        assert parser.get_defaults().numbers == [1, 2]


def test_another_default_is_known_at_once(parser):
    with built_once():
        parser.get_defaults()
        parser.set_defaults({"numbers": [4]})
        assert parser.get_defaults().numbers == [4]


def test_a_type_that_cannot_be_remembered_is_understood():
    assert problem_of_value("1", Annotated[int, ["a list has no hash"]], None) is None
