"""Printed text: names from outside are shown, and the terminal does not obey them."""

import ast
import io
import re
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
