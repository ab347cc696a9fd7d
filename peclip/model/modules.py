"""Make adapters, prompts and trained norms for a backbone, from factories, and check parts of other packages.

Of a part of another package nothing is known but its base class, so that what it returns is checked.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import signature
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from peclip.arguments import check
from peclip.errors import InputError, listed, shown
from peclip.model.backbones.contract import Backbone
from peclip.model.io.spec import Spec, class_of, describe
from peclip.model.parts.adapters import Adapter, AdapterFactory, Takes
from peclip.model.parts.in_place import TrainedNorms, copy_norms
from peclip.model.parts.prompts import MOST_TOKENS, Prompts
from peclip.model.parts.temporal import TemporalHead

PromptFactory = Callable[[int, int, int], Prompts]
"""Makes prompts for the width of the text tower, that of the vision tower, and the blocks of the shorter of their towers."""

TemporalFactory = Callable[[int], TemporalHead]
"""Makes a temporal head for features of a width."""

SITES = ("vision.attention", "vision.mlp", "vision.block", "text.attention", "text.mlp", "text.block")
"""Every self-attention, MLP or whole block of a tower."""


def chosen(adapters: Mapping[str, AdapterFactory], without: Collection[str]) -> dict[str, AdapterFactory]:
    """Return the adapters without those of some sites.

    Raises:
        InputError: there is no adapter at one of these sites.
    """
    if unknown := sorted({*without} - adapters.keys()):
        raise InputError(
            f"without names {unknown[0]!r}, where no adapter is: expected sites of adapters, {', '.join(adapters) or 'none'}",
            "without",
        )
    return {site: factory for site, factory in adapters.items() if site not in without}


def check_factory(name: str, factory: Callable[..., nn.Module], kind: type[nn.Module]) -> None:
    """Check that a factory is a class of a kind, or a ``functools.partial`` of one with arguments that the class accepts.

    Args:
        name: name of the argument that it was passed as, for the message.
        factory: factory of adapters, prompts or a temporal head.
        kind: the base class.

    Raises:
        InputError: it is not.
    """
    try:
        found = class_of(factory)
    except InputError as error:
        raise InputError(f"{name}: {error}", name) from error
    if not issubclass(found, kind):
        raise InputError(f"{name} has {found.__name__}, expected a subclass of {kind.__name__}", name)
    if not isinstance(factory, partial):
        return
    if factory.func is found and factory.args:
        raise InputError(f"{name}: {found.__name__} has arguments without a name: name them", name)
    make: Any = found.__init__
    try:
        signature(found).bind_partial(**factory.keywords)
        types = get_type_hints(make)
    except TypeError as error:
        raise InputError(f"{name}: {found.__name__} {error}", name) from error
    except NameError:  # a custom class with annotations that only type checkers know
        return
    for argument in factory.keywords.keys() & types.keys():
        check(f"{name}: {found.__name__}: {argument}", factory.keywords[argument], types[argument])


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


def build_adapters(backbone: Backbone, adapters: Mapping[str, AdapterFactory]) -> nn.ModuleDict:
    """Make one adapter per block of each site; they are named ``TOWER.PART.BLOCK``.

    Raises:
        InputError: a site is unknown or matches no block, or two sites share a block.
    """
    built, blocks = nn.ModuleDict(), {name: len(tower.blocks) for name, tower in backbone.towers.items()}
    for site, factory in adapters.items():
        for tower, part, block in expand_site(site, blocks):
            places = _child(_child(built, tower), part)
            if str(block) in places:
                raise InputError(
                    f"adapters: site {site!r} covers block {block}, which has an adapter from another site", "adapters"
                )
            places[str(block)] = _made(factory, backbone.towers[tower].width, f"{tower}.{part}")
    return built


def _made(factory: AdapterFactory, width: int, site: str) -> Adapter:
    """Make an adapter for tokens of a width.

    Raises:
        InputError: it is made for other sites, its class takes no width, or states something else of its site than adapters can
            take, or it has parameters whose shape is not known yet.
    """
    kind = class_of(factory)
    check_takes_width(factory, "adapters", "tokens")
    adapter = factory(width)
    if any(isinstance(weight, UninitializedParameter) for weight in adapter.parameters()):
        raise InputError(
            f"adapters: {kind.__name__} has parameters without a shape (of a lazy module): make them of the width",
            "adapters",
        )
    sites = (adapter.only_at,) if isinstance(adapter.only_at, str) else adapter.only_at
    if sites and site not in sites:
        name, expected = type(adapter).__name__, " or ".join(sites)
        raise InputError(f"adapters: {name} is at {site!r}, but works at {expected} only", "adapters")
    if adapter.takes not in get_args(Takes):
        expected = ", ".join(get_args(Takes))
        name = type(adapter).__name__
        raise InputError(
            f"adapters: {name} takes {shown(adapter.takes)} of its site, expected one of {expected}", "adapters"
        )
    return adapter


def check_takes_width(factory: Callable[..., nn.Module], option: str, of: str) -> None:
    """Check that the class of a part takes a width as its first argument.

    Args:
        factory: factory of the part.
        option: name of the model's argument for it.
        of: name of what has this width, for the message.

    Raises:
        InputError: it does not.
    """
    kind = class_of(factory)
    try:
        signature(kind).bind_partial(0)
    except TypeError as error:
        raise InputError(
            f"{option}: {kind.__name__} takes no width of the {of}, expected __init__(self, width, ...)", option
        ) from error


def placed(adapters: nn.ModuleDict, tower: str) -> dict[tuple[str, int], Adapter]:
    """Return the adapters of a tower by (part, block)."""
    sites = dict(adapters.named_children()).get(tower, nn.ModuleDict())
    return {
        (part, int(block)): adapter  # type: ignore[misc]  # children of what build_adapters made
        for part, blocks in sites.named_children()
        for block, adapter in blocks.named_children()
    }


def build_prompts(backbone: Backbone, factory: PromptFactory) -> tuple[Prompts, Spec]:
    """Make prompts for the towers of a backbone, and describe them with the depth that they have here.

    Raises:
        InputError: they are deeper than a tower, or do not return what they state.
    """
    towers = backbone.towers
    blocks = min(len(towers[name].blocks) for name in class_of(factory).towers)
    prompts = factory(towers["text"].width, towers["vision"].width, blocks)
    if is_foreign(prompts):
        _check_prompts(prompts, {name: towers[name].width for name in prompts.towers}, blocks)
    spec = describe(factory)
    depth = {"depth": prompts.depth} if "depth" in signature(type(prompts)).parameters else {}
    return prompts, Spec(spec.class_path, spec.init_args | depth)


def _check_prompts(prompts: Prompts, widths: Mapping[str, int], blocks: int) -> None:
    """Check that prompts of another package return one tensor (P, D) per depth.

    Raises:
        InputError: they do not, or are deeper than a tower.
    """
    name, length, depth = type(prompts).__name__, getattr(prompts, "length", None), getattr(prompts, "depth", None)
    for what, value, most in (("length", length, MOST_TOKENS), ("depth", depth, blocks)):
        if type(value) is not int or not 1 <= value <= most:
            raise InputError(f"prompts: {name} has {what} {shown(value)}, expected 1 to {most:,}", "prompts")
    for tower, width in widths.items():
        shapes = [tuple(each.shape) if isinstance(each, Tensor) else None for each in getattr(prompts, tower)()]
        if shapes != [(length, width)] * (depth or 0):
            raise InputError(
                f"prompts: {name} returns tensors of shapes {listed(map(str, shapes))} from {tower}(), expected {depth} of "
                f"{(length, width)}, one per depth",
                "prompts",
            )


def build_norms(backbone: Backbone, norms: TrainedNorms | None) -> nn.ModuleDict:
    """Copy the norms of the towers of a backbone that are to train."""
    towers = [tower.module for name, tower in backbone.towers.items() if norms in ("both", name)]
    return copy_norms(backbone.clip, towers)


def is_foreign(part: nn.Module) -> bool:
    """Return whether a part is of another package."""
    return not type(part).__module__.startswith("peclip.")


def check_returned(kind: str, part: nn.Module, found: Any, shape: tuple[int, ...]) -> None:
    """Check that a part of another package has returned a tensor of a shape: others would be broadcast without a word.

    Args:
        kind: kind of the part, for the message.
        part: part of any package.
        found: value that it has returned.
        shape: shape that is expected.

    Raises:
        InputError: it has returned something else.
    """
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or not is_foreign(part):
        return
    if not isinstance(found, Tensor) or found.shape != shape:
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"{kind}: {type(part).__name__} returns {what}, expected shape {tuple(shape)}", kind)


def _child(modules: nn.ModuleDict, name: str) -> nn.ModuleDict:
    if name not in modules:
        modules[name] = nn.ModuleDict()
    child = modules[name]
    assert isinstance(child, nn.ModuleDict)
    return child
