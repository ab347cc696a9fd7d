"""Released layouts of the benchmarks, each read by a small function from its root folder into the one manifest.

Labels go by name, never by number, because several orders of the numbers circulate.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from peclip.data.benchmarks.actions import hmdb51, ucf101
from peclip.data.benchmarks.actors import cremad, ravdess
from peclip.data.benchmarks.comparison import comparison_notes
from peclip.data.benchmarks.dfew import dfew
from peclip.data.benchmarks.ferv39k import ferv39k
from peclip.data.benchmarks.folders import afew, caer, folders
from peclip.data.benchmarks.generated import demo, demo_order
from peclip.data.benchmarks.mafw import mafw
from peclip.data.manifest import Manifest
from peclip.data.manifest.text import check_replaceable
from peclip.errors import InputError

__all__ = ("READERS", "prepare", "read_benchmark")

READERS: dict[str, Callable[..., Manifest]] = {
    "dfew": dfew,
    "ferv39k": ferv39k,
    "mafw": mafw,
    "afew": afew,
    "caer": caer,
    "ravdess": ravdess,
    "cremad": cremad,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "folders": folders,
    "demo": demo,
    "demo_order": demo_order,
}
"""The readers by the name that ``data.benchmark`` and ``peclip prepare`` accept."""

WITH_VOTES = ("dfew", "mafw")
"""Benchmarks whose readers have the option ``votes``."""


def read_benchmark(name: str, root: Path | str, **options: str | None) -> Manifest:
    """Read a benchmark from its folder.

    Args:
        name: one of :data:`READERS`.
        root: folder of the release.
        options: keyword arguments of the reader, such as ``scene`` for FERV39K.

    Raises:
        InputError: no such benchmark, option or folder, or the folder does not have the released layout.
    """
    if name not in READERS:
        raise InputError(f"unknown benchmark {name!r}, expected one of {', '.join(READERS)}")
    known = {key: hint for key, hint in get_type_hints(READERS[name]).items() if key not in ("root", "return")}
    for option, value in options.items():
        if option not in known:
            accepts = f"accepts {', '.join(known)}" if known else "accepts no options"
            raise InputError(f"unknown option {option!r} of benchmark {name}, which {accepts}")
        allowed = get_args(known[option]) if get_origin(known[option]) is Literal else (value,)
        if value not in allowed:
            raise InputError(f"{option} {value!r} of benchmark {name}: expected {' or '.join(map(str, allowed))}")
    return READERS[name](Path(root), **options)


def prepare(name: str, root: Path | str, out: Path | str, **options: str | None) -> Manifest:
    """Read a benchmark and write its manifest; see :func:`read_benchmark` for the arguments and errors.

    Returns:
        The manifest, whose notes also say with whose numbers results may be compared.
    """
    check_replaceable(out)
    manifest = read_benchmark(name, root, **options)
    manifest = manifest.with_notes(*comparison_notes(name, manifest.labels))
    check_replaceable(out, manifest.written_columns)
    manifest.write(out)
    return manifest
