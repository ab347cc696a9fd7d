"""Write the help texts of ``peclip fit --help`` and the like: ``python tools/write_help.py``, after a change of their options.

Building Lightning's parser takes seconds, so peclip prints stored texts instead. A test compares them with the parser's.
"""

import io
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))  # this clone, wherever another peclip is installed
os.environ["COLUMNS"] = "100"

from lightning.pytorch.cli import LightningArgumentParser

from peclip.cli import COMMANDS, HELP_TEXTS, LIGHTNING
from peclip.train.cli.command import command
from peclip.train.cli.lightning import PEClipCLI

SHOWN = 20
"""Known subclasses of an option that its help lists; of torch.nn.Module there are hundreds."""

EXAMPLES = {
    "fit": """  peclip fit --config demo
  peclip fit --config ferv39k --data.root /data/FERV39K --model.lr_adapters 2e-4
  peclip fit --config ferv39k --data.root /data/FERV39K --ckpt_path last   # resume the latest run
  peclip fit --config demo --print_config                                  # show all values, run nothing
""",
    "validate": "  peclip validate --ckpt_path runs/demo/version_0\n",
    "test": """  peclip test --ckpt_path runs/demo/version_0
  peclip test --ckpt_path runs/demo/version_0 --data.manifest mine.csv --out answers
""",
    "predict": "  peclip predict --ckpt_path runs/demo/version_0 --data.manifest mine.csv --data.predict all\n",
}

KINDS = """Options that begin with --trainer are those of Lightning's Trainer; with --model, of the model and its
training; with --data, of the clips. Files for --config may set any of them, and later words override
earlier ones; --config also accepts the name of a recipe (peclip recipes).
"""


def headed(name: str, text: str) -> str:
    """Return a help text that begins with what the command does, in place of the names of all options."""
    words = COMMANDS[name].text
    options = text[text.index("\noptions:\n") :]
    return (
        f"usage: peclip {name} [--config FILE ...] [--option VALUE ...]\n\n{words[0].upper()}{words[1:]}.\n\n"
        f"examples:\n{EXAMPLES[name]}\n{KINDS}{options}"
    )


def without_long_lists(text: str) -> str:
    """Return a help text in which a list of more than :data:`SHOWN` known subclasses is cut."""

    def cut(found: re.Match[str]) -> str:
        names = found[1].split(",")
        return found[0] if len(names) <= SHOWN else f"known subclasses: {','.join(names[:1])} and others"

    return re.sub(r"known\s+subclasses: ([^)]*)", cut, text)


class Help(PEClipCLI):
    """Writes the help of every subcommand; without building or running anything."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> NoReturn:
        """Write a file for each subcommand into the folder that is given."""
        names = [name for name, entry in COMMANDS.items() if entry.target == LIGHTNING]
        for name in names:
            text = io.StringIO()
            try:
                with redirect_stdout(text):
                    parser.parse_args([name, "--help"])
            except SystemExit:
                (Path(args[0]) / f"{name}.txt").write_text(
                    headed(name, without_long_lists(text.getvalue())), encoding="utf-8"
                )
        raise SystemExit(0)


if __name__ == "__main__":
    command(Help, sys.argv[1:] or [str(HELP_TEXTS)])
