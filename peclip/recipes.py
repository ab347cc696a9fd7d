"""The recipes that come with peclip: the files of ``configs/``, found by name, and the ``peclip recipes`` command."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from peclip.errors import InputError

CONFIG_OPTIONS = ("--config", "-c")
"""Options of the command line that name a configuration."""

_HERE = Path(__file__).parent
FOLDER = next(
    (folder for folder in (_HERE / "configs", _HERE.parent / "configs") if folder.is_dir()), _HERE / "configs"
)
"""Folder of the recipes: inside the package when peclip is installed from a wheel, beside it in a clone."""


@dataclass(frozen=True)
class Recipe:
    """A configuration that comes with peclip.

    Attributes:
        name: value of ``--config``, such as ``ferv39k`` or ``ablations/no_tda``.
        path: the YAML file.
        command: the command line that runs it, from the first line of the file.
        aim: model that it trains and scores that it aims at, from the second line.
    """

    name: str
    path: Path
    command: str
    aim: str


def read_recipes() -> dict[str, Recipe]:
    """Return the recipes by name, those of subfolders last."""
    paths = sorted(FOLDER.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {recipe.name: recipe for recipe in map(_read, paths)}


def recipe_path(name: str) -> Path:
    """Return the file that ``--config NAME`` means: a file of the working folder, else the recipe of that name.

    Args:
        name: the path of a YAML file, or the name of a recipe.

    Raises:
        InputError: there is neither; the message lists recipes with similar names.
    """
    if (path := Path(name)).exists() and not path.is_dir():
        return path
    recipes = read_recipes()
    if name in recipes:
        return recipes[name].path
    raise InputError(f"--config {name}: no such file and no such recipe{_advice(name, list(recipes))}")


def with_recipes(args: Sequence[str]) -> list[str]:
    """Return a command line in which ``--config NAME`` is replaced by the path of the file that it means.

    Raises:
        InputError: a ``--config`` names neither a file nor a recipe.
    """
    found = list(args)
    for index, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option.startswith("-c") and option != "-c":  # -cNAME
            found[index] = f"-c{recipe_path(word[2:])}"
        if option not in CONFIG_OPTIONS:
            continue
        if equals and value:
            found[index] = f"{option}={recipe_path(value)}"
        elif not equals and index + 1 < len(args) and not args[index + 1].startswith("-"):
            found[index + 1] = str(recipe_path(args[index + 1]))
    return found


def recipes(name: str | None = None) -> None:
    """List the recipes that come with peclip, or print one.

    Args:
        name: recipe to print as it is; all are listed by default.

    Raises:
        InputError: there is no recipe of that name.
    """
    known = read_recipes()
    if name is None:
        for recipe in known.values():
            print(f"{recipe.name}\n  {recipe.aim}\n  {recipe.command}")
        print("\npeclip recipes NAME prints one; a copy of it, changed to your needs, is a recipe of your own.")
    elif name in known:
        print(known[name].path.read_text(encoding="utf-8"), end="")
    else:
        raise InputError(f"no recipe {name!r}{_advice(name, list(known))}")


def _read(path: Path) -> Recipe:
    command, aim = (line.removeprefix("#").strip() for line in path.read_text(encoding="utf-8").splitlines()[:2])
    return Recipe(path.relative_to(FOLDER).with_suffix("").as_posix(), path, command, aim)


def _advice(name: str, known: list[str]) -> str:
    """Return the end of an error message: recipes with a similar name, and how to list all of them."""
    stem, by_stem = Path(name).stem.lower(), {recipe.rpartition("/")[2]: recipe for recipe in known}
    close = [stem] if stem in by_stem else get_close_matches(stem, by_stem)
    similar = [by_stem[stem] for stem in close]
    return f"; did you mean {' or '.join(similar)}? See peclip recipes" if similar else ", see peclip recipes"
