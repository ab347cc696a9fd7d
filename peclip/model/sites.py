"""Sites: the places in the blocks of a backbone where adapters act, by name."""

import re
from collections.abc import Mapping

from peclip.errors import InputError

SITES = ("vision.attention", "vision.mlp", "vision.block", "text.attention", "text.mlp", "text.block")
"""Every self-attention, MLP or whole block of a tower."""


def expand_site(site: str, blocks: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Resolve a site such as ``vision.mlp`` or ``vision.mlp[6:12]`` to (tower, part, block) triples.

    Args:
        site: one of :data:`SITES`, optionally with a slice of its blocks.
        blocks: number of blocks by tower.

    Raises:
        InputError: no such site, or no block in the slice; the message lists the valid ones.
    """
    match = re.fullmatch(r"(\w+\.\w+)(?:\[(-?\d+)?:(-?\d+)?\])?", site)
    if not match or match[1] not in SITES:
        raise InputError(
            f"adapters: unknown site {site!r}, expected one of {', '.join(SITES)}, optionally with blocks as in "
            f"{SITES[1]}[6:12]",
            "adapters",
        )
    tower, part = match[1].split(".")
    start, stop = (int(text) if text else None for text in (match[2], match[3]))
    chosen = range(blocks[tower])[start:stop]
    if not chosen:
        raise InputError(
            f"adapters: site {site!r} matches no block, {match[1]} has blocks 0 to {blocks[tower] - 1}", "adapters"
        )
    return [(tower, part, block) for block in chosen]
