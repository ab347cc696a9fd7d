"""The order of the rooms: an import goes down or stays in its room, and no files import each other in a circle."""

import re
from pathlib import Path

import pytest

import peclip
from tests.layers import between, circle, reaching, read_imports, upward

ORDER = (
    (  # the ground
        *(
            "__init__",
            "_lazy",
            "parser_errors",
            "errors",
            "arguments",
            "terminal",
            "console",
            "files",
            "json_text",
            "labels",
            "class_texts",
            "clip_format",
            "recipes",
        ),
        *("configuration", "class_paths", "guard"),
    ),
    ("results", "data"),
    ("demo",),
    ("model",),
    ("train", "inference", "testing"),
    ("bench", "commands"),
    ("cli",),
    ("__main__",),
)
"""Rooms from the lowest to the highest."""

LIGHT = (*ORDER[0], "results")
HEAVY = ("torch", "lightning", "transformers", "torchmetrics", "pandas")


@pytest.fixture(scope="module")
def imports():
    return read_imports(Path(peclip.__file__).parent)


def test_imports_go_down_or_stay_in_their_room(imports):
    assert upward(imports, ORDER) == []


def test_no_files_import_each_other_in_a_circle(imports):
    assert " -> ".join(circle(imports)) == ""


def test_reports_of_runs_need_nothing_heavy(imports):
    assert reaching(imports, LIGHT, HEAVY) == []


def test_the_pages_draw_the_order_and_say_what_each_room_imports(imports):
    drawn = " ◄─ ".join(["ground", *(", ".join(rooms) for rooms in ORDER[1:-1])])
    root = Path(peclip.__file__).parent.parent
    pages = {name: (root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/architecture.md")}
    assert all(f"\n{drawn}\n" in page for page in pages.values())
    table = pages["docs/architecture.md"].partition("| room |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| .*?`([a-z]+)(?:/|\.py)` \|[^|]*\| ([a-z, ]*)\|$", table, re.MULTILINE)
    said = {room: [name for name in names.strip().split(", ") if name] for room, names in rows}
    order = [room for rooms in ORDER[1:] for room in rooms]
    found = {room: sorted(between(imports, room) & {*order}, key=order.index) for room in order[:-1]}
    assert said == found


# --- the checker itself ---


@pytest.fixture
def house(tmp_path):
    """A small package in good order."""
    files = {
        "__init__.py": "from house.roof import tiles\n__version__ = '1'\n",
        "ground.py": "import json\n",
        "cellar/__init__.py": "",
        "cellar/wine.py": "from house import __version__\nfrom house.ground import soil\n",
        "garden/__init__.py": "",
        "garden/tree.py": "import house.ground\n",
        "roof/__init__.py": "from .tiles import tile\n",
        "roof/tiles.py": "import torch\n\ndef climb():\n    from house.cellar import wine\n",
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house"


HOUSE = (("__init__", "ground"), ("cellar", "garden"), ("roof",))


def test_of_a_house_in_order_nothing_is_reported(house):
    found = read_imports(house)
    assert (upward(found, HOUSE), circle(found)) == ([], [])
    assert reaching(found, ("cellar", "garden"), ("torch",)) == []
    assert reaching(found, ("roof",), ("torch",)) == ["roof/tiles.py:1 imports torch"]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("cellar/wine.py", "from house.roof import tiles", "cellar/wine.py:1 imports house.roof.tiles, which is above"),
        ("ground.py", "import house.cellar.wine", "ground.py:1 imports house.cellar.wine, which is above"),
        (
            "cellar/wine.py",
            "\nfrom ..garden import tree",
            "cellar/wine.py:2 imports house.garden.tree, which is beside",
        ),
        ("garden/tree.py", "def f():\n    import house.roof", "garden/tree.py:2 imports house.roof, which is above"),
        ("garden/tree.py", "from house import tiles", "imports house.tiles, which the root takes from above"),
        (
            "garden/tree.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.roof.tiles import Tile",
            "garden/tree.py:3 imports house.roof.tiles.Tile, which is above",
        ),
    ],
)
def test_an_import_upward_is_reported_wherever_it_is(house, file, text, says):
    (house / file).write_text(text)
    (line,) = upward(read_imports(house), HOUSE)
    assert line.endswith(says)


def test_a_circle_is_reported(house):
    (house / "cellar/wine.py").write_text("from house.cellar.rack import shelf")
    (house / "cellar/rack.py").write_text("def f():\n    from . import wine")
    assert set(circle(read_imports(house))) == {"cellar/wine.py", "cellar/rack.py"}


def test_what_is_heavy_is_found_through_other_files(house):
    (house / "cellar/wine.py").write_text("import house.ground")
    (house / "ground.py").write_text("def f():\n    from torch import nn")
    assert reaching(read_imports(house), ("cellar",), ("torch",)) == ["ground.py:2 imports torch.nn"]


def test_a_room_without_a_place_is_an_error(house):
    (house / "attic.py").write_text("import house.ground")
    with pytest.raises(AssertionError, match="attic has no place"):
        upward(read_imports(house), HOUSE)
