"""The help of every command and the comparison of runs are fast: neither imports heavy packages."""

import json
import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import peclip
from peclip.cli import COMMANDS, HELP_TEXTS, LIGHTNING
from tests.processes import called
from tests.train.evaluations import outcomes, write_run

ROOT = Path(peclip.__file__).parents[1]
HEAVY = ("torch", "lightning", "transformers", "torchmetrics", "pandas", "matplotlib")


@pytest.fixture(scope="session")
def without_heavy(tmp_path_factory):
    """Returns a function that runs Python where importing a heavy package is an error."""
    folder = tmp_path_factory.mktemp("heavy")
    for name in HEAVY:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "COLUMNS": "100"}

    def run(*args):
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_heavy_import_would_be_noticed(without_heavy):
    done = without_heavy("-c", "import peclip.train.module")
    assert (done.returncode, "was imported" in done.stderr) == (1, True)


ALL_HELP = """
import io, json
from contextlib import redirect_stderr, redirect_stdout
from peclip.cli import COMMANDS, main

answers = {}
for command in COMMANDS:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([*command.split(), "--help"])
        except SystemExit as end:
            status = end.code or 0
        except Exception as error:
            status = 1
            print(error, file=err)
    answers[command] = status, err.getvalue(), out.getvalue()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def all_help(without_heavy):
    """Return of every command the status of its help and what it prints on stderr and stdout, all from one process.

    What one command imports in vain is refused to the next one, too: a module that fails is not kept.
    """
    done = without_heavy("-c", ALL_HELP)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(command, all_help):
    status, err, out = all_help[command]
    assert (status, err) == (0, "")
    assert "usage: peclip " in out
    assert "--help" in out


def test_help_is_asked_for_as_a_user_does(without_heavy, all_help):
    done = without_heavy("-m", "peclip", "recognize", "--help")
    assert [done.returncode, done.stderr, done.stdout] == all_help["recognize"]


def test_runs_are_compared_and_tabulated_without_anything_heavy(without_heavy, tmp_path):
    truth, predicted = outcomes(30, 0.7)
    run = write_run(tmp_path / "run", truth, predicted)
    done = without_heavy("-m", "peclip", "compare", run, run, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Results on 30 test clips" in done.stdout
    assert (tmp_path / "out/comparison.json").is_file()
    done = without_heavy("-m", "peclip", "table", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert " 30 " in done.stdout


def test_a_mistake_is_answered_without_anything_heavy(without_heavy):
    for args in (["export"], ["recognize", "a.mp4", "--window", "long"], ["bench", "train", "--classes", "1"]):
        done = without_heavy("-m", "peclip", *args)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


# --- the stored texts of Lightning's commands ---


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A folder with the help as Lightning's parser prints it now."""
    folder = tmp_path_factory.mktemp("live")
    result = called(folder, partial(write_help, folder))
    assert result.status == 0, result.err
    return folder


def write_help(folder):
    sys.argv[1:] = [str(folder)]
    runpy.run_path(str(ROOT / "tools/write_help.py"), run_name="__main__")


def comparable(text):
    """The words of a help text. From Python 3.13 on, the value of an option with two names is written once."""
    return re.sub(r"(-\S+) (\S+), (?=-\S+ \2\s)", r"\1, ", text).split()


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.target == LIGHTNING])
def test_the_stored_help_is_that_of_the_parser(name, live):
    stored, now = (comparable((folder / f"{name}.txt").read_text(encoding="utf-8")) for folder in (HELP_TEXTS, live))
    assert stored == now, f"the options of peclip {name} have changed: run python tools/write_help.py"


def test_values_that_are_written_once_or_twice_are_the_same():
    before, after = "  -c CONFIG, --config CONFIG\n  Path", "  -c, --config CONFIG   Path"
    assert comparable(before) == comparable(after) == ["-c,", "--config", "CONFIG", "Path"]


def test_the_stored_help_travels_with_the_package():
    import tomllib

    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["peclip"]
    assert {path for pattern in data for path in Path(peclip.__file__).parent.glob(pattern)} >= set(
        HELP_TEXTS.iterdir()
    )


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.target == LIGHTNING])
def test_the_help_of_a_command_says_within_a_screen_what_it_does_and_how_to_call_it(name):
    lines = (HELP_TEXTS / f"{name}.txt").read_text(encoding="utf-8").split("\noptions:\n")[0].splitlines()
    assert len(lines) < 20
    assert lines[2].lower() == f"{COMMANDS[name].text}.".lower()
    assert any(line.startswith(f"  peclip {name} ") for line in lines)
    assert max(map(len, lines)) <= 105
