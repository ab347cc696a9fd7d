"""``python -m peclip`` is the ``peclip`` command."""

from peclip.cli import main

main()
