"""The public names of peclip and of its rooms: there when they are used, seen by type checkers, free until then."""

import ast
import pkgutil
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import peclip

ROOMS = ("data", "data.benchmarks", "data.check", "data.manifest", "data.media", "demo", "demo.face", "model", "results",
         "train", "inference", "bench")  # fmt: skip
PACKAGES = ("peclip", *(f"peclip.{room}" for room in ROOMS))
HEAVY = ("torch", "lightning", "transformers", "numpy", "pandas", "av", "jsonargparse")


def seen_by_a_type_checker(package):
    """The names that a package imports for others, with the module that it takes each from."""
    tree = ast.parse(Path(import_module(package).__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {name.name: node.module for node in block.body for name in node.names}


LAZY = [package for package in PACKAGES if "lazy_exports" in vars(import_module(package))]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_the_names_that_it_declares(package):
    module = import_module(package)
    assert isinstance(module.__all__, tuple)
    assert module.__all__
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", LAZY)
def test_no_public_name_is_that_of_a_module(package):
    module = import_module(package)
    inside = {entry.name for entry in pkgutil.iter_modules(module.__path__)}
    assert inside
    assert not inside & set(module.__all__)


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_what_python_finds(package):
    module, seen = import_module(package), seen_by_a_type_checker(package)
    assert set(seen) == set(module.__all__)
    for name, home in seen.items():
        assert getattr(module, name) is getattr(import_module(home), name)


def test_the_root_offers_what_users_need():
    assert set(peclip.__all__) == {
        "PEClip", "Recognizer", "PEClipModule", "VideoDataModule", "Manifest", "ClipFormat", "InputError", "load_released"
    }  # fmt: skip
    assert "__version__" in dir(peclip)


@pytest.mark.parametrize("package", ["peclip", "peclip.data"])
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'PEClipp'"):
        _ = import_module(package).PEClipp


@pytest.mark.parametrize("package", LAZY)
def test_importing_a_package_imports_nothing_heavy(package):
    code = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_windows_is_told_what_peclip_needs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImportError, match="needs Linux or macOS: on Windows, install it in WSL 2"):
        runpy.run_path(peclip.__file__)
