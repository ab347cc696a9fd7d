"""The ``peclip`` command. Heavy imports happen only inside the commands that need them."""

import sys
from collections.abc import Sequence

from peclip import __version__
from peclip.errors import InputError

COMMANDS = {
    "fit": "train on a data set, then evaluate the best checkpoint once",
    "validate": "evaluate a checkpoint on the validation clips",
    "test": "evaluate a checkpoint on the test clips",
    "predict": "write the label and the probabilities of every clip",
}

HELP = f"""peclip {__version__}: which expression does a face show? PE-CLIP for dynamic facial expression recognition.

usage: peclip COMMAND [--config FILE ...] [--option VALUE ...]
       peclip COMMAND --help    every option of a command
       peclip --version

commands:
{chr(10).join(f"  {name:<10} {text}" for name, text in COMMANDS.items())}

start here:
  peclip fit --config configs/demo.yaml      train on drawn faces: nothing to download, minutes on a CPU
  peclip fit --config configs/ferv39k.yaml --data.root /data/FERV39K
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        args: command line; None for that of the process.

    Raises:
        SystemExit: with status 2 after one line on stderr when the user made a mistake.
    """
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if args[0] == "--version":
        print(f"peclip {__version__}")
        return
    try:
        if args[0] not in COMMANDS:
            raise InputError(f"unknown command {args[0]!r}, expected one of {', '.join(COMMANDS)}; see peclip --help")
        from peclip.train.cli import run

        run(args)
    except InputError as error:
        # An error from a worker process arrives wrapped in that process' traceback: the last line is the message.
        line = str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")
        print(f"peclip: error: {line}", file=sys.stderr)
        raise SystemExit(2) from None
