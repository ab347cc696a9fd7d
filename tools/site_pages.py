"""Write pages of the documentation from the program, while ``make docs`` builds it: commands, recipes, and the API.

The hooks are those of MkDocs; mkdocs.yml names this file.
"""

import contextlib
import io
import os
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from peclip import cli
from peclip.recipes import read_recipes

ROOMS = {
    "peclip": "the names that most programs need",
    "peclip.model": "the model and its parts",
    "peclip.data": "clips on disk to batches",
    "peclip.train": "training on Lightning",
    "peclip.inference": "expressions in videos",
    "peclip.results": "what runs leave, read and compared; imports no torch",
    "peclip.testing": "contract tests for parts of your own",
}
"""Packages with public names, and what they hold."""

OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+)\)")
"""A link out of ``docs/``: the site does not have its target."""

ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):<code>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the generated pages in the navigation."""
    (reference,) = (part["Reference"] for part in config.nav or [] if "Reference" in part)
    for part in reference:
        if "Commands" in part:
            part["Commands"] = [{f"peclip {name}": _page_of(name)} for name in cli.COMMANDS]
        if "API" in part:
            part["API"] = [{name: f"reference/api/{name}.md"} for name in ROOMS]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"reference/recipes.md": recipes_page()}
    pages |= {_page_of(name): command_page(name) for name in cli.COMMANDS}
    pages |= {f"reference/api/{name}.md": api_page(name) for name in ROOMS}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links to files outside ``docs/`` into the names of these files, as in the repository."""
    return OUTSIDE.sub(lambda link: f"`{link[1].strip('`')}`", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Remove the roles of names in docstrings, such as ``:class:``, which only Sphinx knows."""
    return ROLE.sub("<code>", html)


def command_page(name: str) -> str:
    """Return the page of a command: its help, as the program prints it."""
    return f"# peclip {name}\n\n{cli.COMMANDS[name].text.capitalize()}.\n\n```text\n{help_of(name)}```\n"


def help_of(name: str) -> str:
    """Return what ``peclip NAME --help`` prints."""
    printed = io.StringIO()
    os.environ["COLUMNS"] = "100"
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*name.split(), "--help"])
    return printed.getvalue()


def recipes_page() -> str:
    """Return the page of the recipes: what each aims at, its command and its options."""
    parts = ["# Recipes", "`--config NAME` finds these configurations by name; `peclip recipes NAME` prints one."]
    for name, recipe in read_recipes().items():
        parts.append(f"## {name}\n\n```yaml\n{Path(recipe.path).read_text(encoding='utf-8')}```")
    return "\n\n".join(parts) + "\n"


def api_page(name: str) -> str:
    """Return the page of a package: its public names, with their docstrings where they are defined."""
    module = import_module(name)
    members = "\n\n".join(f"::: {_defined(module, public)}" for public in module.__all__)
    return f"# {name}\n\n{ROOMS[name].capitalize()}.\n\n{members}\n"


def _defined(module: ModuleType, public: str) -> str:
    """Return the import path of a public name where it is defined."""
    found = getattr(module, public)
    home = getattr(found, "__module__", None)
    return f"{home}.{found.__qualname__}" if home and hasattr(found, "__qualname__") else f"{module.__name__}.{public}"


def _page_of(command: str) -> str:
    return f"reference/commands/{command.replace(' ', '_')}.md"
