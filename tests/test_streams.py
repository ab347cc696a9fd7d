"""Output that nobody reads does not end a command."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

WRITES = """
import os, sys
from peclip.cli import main
main(["--version"])
for number in range(2000):
    print("line", number, "of a long output", flush=True)
print("done", file=sys.stderr)
opened = os.open(os.devnull, os.O_RDONLY)
print("lowest", opened, file=sys.stderr, flush=True)
"""


def start(redirection):
    """Run a program that prints much after the command has started, in a shell, and return its status and its errors."""
    command = f'"{sys.executable}" -c "$0" {redirection}'
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo status ${{PIPESTATUS[0]}} >&2", WRITES],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return done.stdout, done.stderr.splitlines()


def test_a_reader_that_leaves_does_not_end_a_command():
    out, err = start("| head -1")
    assert out.startswith("peclip ")
    assert err[0] == "done"
    assert err[-1] == "status 0"


def test_a_closed_stdout_does_not_end_a_command_or_become_another_file():
    out, err = start(">&-")
    assert (out, err[0], err[-1]) == ("", "done", "status 0")
    assert int(err[1].split()[1]) > 2


def test_letters_that_a_terminal_does_not_have_are_written_as_their_codes():
    code = "from peclip.cli import main; main(['--version']); print('± 高兴')"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == r"\xb1 \u9ad8\u5174"


def test_all_streams_may_be_closed():
    out, err = start(">&- 2>&- <&-")
    assert (out, err) == ("", ["status 0"])
