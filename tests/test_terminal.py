"""Printed text: names from outside are shown, the terminal does not obey them, and output that nobody reads ends no command."""

import ast
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

import peclip
from peclip.cli import main
from peclip.console import PlainConsole
from peclip.errors import InputError, in_one_line, printable
from peclip.terminal import say

HOSTILE = "\x1b]0;owned\x07\x1b[2Ja\rb\u202ec\x9bd\u2028e\udcff"
SHOWN = r"\x1b]0;owned\x07\x1b[2Ja\rb\u202ec\x9bd\u2028e\udcff"

PRINTERS = {"terminal.py", "console.py"}
"""Files that may print names from outside."""

FIXED = {"cli.py": 6, "recipes.py": 3}
"""Files that print only texts of peclip itself, or what errors.in_one_line returns, and how often."""

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


def test_characters_that_a_terminal_obeys_are_shown():
    assert printable(HOSTILE) == SHOWN
    assert printable("a\nb\tc\x85") == r"a\nb\tc\x85"
    for text in ("表情 é ☺ 笑\u3000x\xa0y", "\u200dकक्\u200dष\u200c", "[red]a[/] :smile:", r"C:\x1b"):
        assert printable(text) == text


def test_lines_are_printed_with_names_as_they_are(capsys):
    say(f"clips: {HOSTILE}", Path("a\nb"))
    say("[/] a\x1b", error=True)
    assert capsys.readouterr() == (f"clips: {SHOWN}\na\\nb\n", "[/] a\\x1b\n")


def test_tables_show_names_as_they_are(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("run", title=f"{HOSTILE}[/]")
    table.add_row(f"[/]{HOSTILE}", style="red")
    out = io.StringIO()
    console = PlainConsole(file=out, width=200)
    console.print(table)
    console.print(f"[/] :smile: {HOSTILE}")
    text = out.getvalue()
    assert text.count(SHOWN) == 3
    assert "\x1b[31m" in text
    assert "[/] :smile:" in text
    rest = re.sub(r"\x1b\[[\d;]*m", "", text)  # colours
    assert all(line.isprintable() for line in rest.splitlines())


def test_an_error_is_one_line_whatever_name_is_in_it():
    assert in_one_line(InputError("a\nb: \x1b[2J: no such file")) == r"a\nb: \x1b[2J: no such file"
    wrapped = (
        "Caught InputError\nTraceback:\n  peclip.errors.InputError: first\npeclip.errors.InputError: first\n"
        "The above exception was the direct cause\npeclip.errors.InputError: clip a\nb is torn"
    )
    assert in_one_line(InputError(wrapped)) == r"clip a\nb is torn"


def test_an_error_of_the_command_does_not_reach_the_terminal_as_it_is(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / HOSTILE)])
    error = capsys.readouterr().err
    assert SHOWN in error
    assert error.count("\n") == 1
    assert error[:-1].isprintable()


def test_every_other_file_prints_through_these():
    root, found = Path(peclip.__file__).parent, {}
    for path in sorted(root.rglob("*.py")):
        name = str(path.relative_to(root))
        if name in PRINTERS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id in ("print", "Console"):
                found[name] = found.get(name, 0) + 1
    assert found == FIXED


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
