"""Data that crosses a room is a frozen dataclass or a tensor: plain dicts are the content of files and options alone."""

import ast
import re
from functools import cache
from pathlib import Path

import peclip
from tests.layers import read_imports, room_of

RAW = {
    **dict.fromkeys(("configuration:read_configuration", "guard:options_in"), "options, which their parser checks"),
    **dict.fromkeys(("results/options:read_options", "results/options:section_of"), "options of a run, by their names"),
    **dict.fromkeys(("results/options:by_name", "results/card:data_record"), "the same"),
    "results/records:read_json": "the content of a file, which from_json makes a dataclass",
    "model/torch_file:read_checkpoint": "a checkpoint, with the entries of Lightning",
    **dict.fromkeys(
        ("model/io/checkpoint:to_checkpoint", "model/io/checkpoint:from_checkpoint"), "entries of the same"
    ),
}
"""Functions with a plain dict that another room imports, and what it holds."""

FORMS = {"as_json", "to_plain", "on_save_checkpoint", "on_load_checkpoint", "parameter_groups"}
"""Methods that give an object its form in a file, and those whose form Lightning and torch prescribe."""

PLAIN = re.compile(r"\b(dict|Mapping)\[str, Any\]")


def crossing(package):
    """Functions, and public methods of classes, whose annotations have a plain dict, and which another room imports."""
    found, parsed = set(), cache(lambda path: ast.parse(path.read_text(encoding="utf-8")).body)
    for entry in read_imports(package):
        if entry.target is None or _is_one_room(entry.file, entry.target):
            continue
        name, path = entry.name.rpartition(".")[2], package / entry.target
        for node in parsed(path):
            if getattr(node, "name", None) != name:
                continue
            methods = [each for each in getattr(node, "body", []) if isinstance(each, ast.FunctionDef)]
            public = [each for each in methods if each.name == "__init__" or not each.name.startswith("_")]
            for function in [node] if isinstance(node, ast.FunctionDef) else public:
                place = name if function is node else f"{name}.{function.name}"
                given = [each.annotation for each in (*function.args.args, *function.args.kwonlyargs)]
                texts = [ast.unparse(each) for each in (*given, function.returns) if each]
                if function.name not in FORMS and any(map(PLAIN.search, texts)):
                    found.add(f"{entry.target.removesuffix('.py')}:{place}")
    return found


def _is_one_room(*files):
    return len({"ground" if "/" not in file else room_of(file) for file in files}) == 1


def test_no_plain_dict_crosses_a_room_but_for_the_content_of_files_and_options():
    assert crossing(Path(peclip.__file__).parent) == {*RAW}


def test_a_plain_dict_is_found_in_a_function_and_in_a_method(tmp_path):
    for room in ("low", "high"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "low/facts.py").write_text(
        "def one(x) -> dict[str, Any]: ...\n"
        "class Two:\n    def __init__(self, head: Mapping[str, Any]): ...\n    def as_json(self) -> dict[str, Any]: ...\n"
        "def three(x: dict[str, int]): ...\n"
    )
    name = tmp_path.name
    (tmp_path / "high/use.py").write_text(f"from {name}.low.facts import Two, one, three\n")
    (tmp_path / "low/near.py").write_text(f"from {name}.low.facts import one\n")
    assert crossing(tmp_path) == {"low/facts:one", "low/facts:Two.__init__"}
