"""Check a backbone from anyone before and after it is loaded, and keep transformers and huggingface_hub quiet meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.utils import logging

from peclip.errors import InputError, first_line, shown
from peclip.files import read_regular_text
from peclip.json_text import parse_json
from peclip.model.backbones.contract import Backbone
from peclip.model.weights import PRECISIONS, check_archive

LEGACY_END = 2
"""End token in the configurations of towers that were converted early; for them, transformers uses the largest token."""

LARGEST = {
    "num_hidden_layers": 200,
    "hidden_size": 16_384,
    "intermediate_size": 65_536,
    "num_attention_heads": 256,
    "vocab_size": 1_000_000,
    "max_position_embeddings": 10_000,
    "image_size": 4_096,
    "patch_size": 4_096,
    "num_channels": 3,
    "num_patches": 1_000_000,
    "projection_dim": 16_384,
    "projection_size": 16_384,
}
"""Largest numbers of a model and its towers; those of the largest ones are below a fourth of them, except the channels."""

MOST_PARAMETERS = 20e9
"""Parameters of both towers; the largest CLIPs have 5 billion."""

SMALL = 200e6
"""Parameters that any machine has room for, so that the size of their file need not be known."""


VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
)
"""Files of which a tokenizer of any kind has one."""

NAMED = ("model", "pytorch_model")
"""Starts of the names of files of weights that transformers reads."""

FLOATS = ("F16", "BF16", "F32", "F64", *PRECISIONS)
"""Types of weights, by the words of safetensors and by torch's."""

PLACES = "position_ids"
"""End of the names of whole numbers among the weights, of older files."""

MERGES = "merges.txt"
"""File that a tokenizer with vocab.json needs, too."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what transformers and huggingface_hub report within the context, and progress bars; errors are raised all the same."""
    level, bars, of_hub = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub_logging.get_verbosity()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(of_hub)
        if bars:
            logging.enable_progress_bar()


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the content of a JSON file of a backbone.

    Raises:
        ValueError: it is damaged, or holds something else than an object.
    """
    try:
        plain = parse_json(read_regular_text(path))
    except ValueError as error:
        raise ValueError(f"{os.path.basename(path)} is not a valid JSON file: {first_line(error)}") from error
    if isinstance(plain, dict):
        return plain
    raise ValueError(f"{os.path.basename(path)} is {shown(plain)}, expected an object")


def check_sizes(config: PreTrainedConfig, folder: Path | None = None) -> None:
    """Check that a CLIP of these sizes can be built, and that its weights in a folder are not smaller than it.

    Args:
        config: configuration of the model.
        folder: folder of its files; None if it has none.

    Raises:
        ValueError: it cannot, they are, or they are compressed.
    """
    parameters = 0
    towers: tuple[Any, Any] = config.text_config, config.vision_config
    for part in (config, *towers):
        for name, most in LARGEST.items():
            value = getattr(part, name, 1)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {shown(value)}, expected 1 to {most:,}")
    for tower in towers:
        parameters += tower.hidden_size * (_rows_of_blocks(tower) + _rows_of_embeddings(tower))
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"these are sizes of {parameters / 1e9:,.0f} billion parameters, more than any CLIP has")
    names = folder.glob("*") if folder else ()
    files = [path for path in names if path.suffix in (".safetensors", ".bin") and path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if parameters > SMALL and files and size < parameters:  # a parameter has one byte or more
        raise ValueError(f"config.json describes {parameters:,} parameters, but the weights have {size:,} bytes")
    for path in files:
        if path.suffix == ".bin":
            check_archive(path)
    named = [path for path in files if path.name.startswith(NAMED)]
    for path in [path for path in named if path.suffix == ".safetensors"] or named:  # transformers prefers them
        _check_kinds(path)


def _check_kinds(path: Path) -> None:
    """Check that weights are floating-point numbers: transformers casts quantised and complex ones, whose values are others.

    Raises:
        ValueError: one is of another kind, or the file cannot be read.
    """
    if path.suffix == ".bin":
        state = torch.load(path, map_location="meta", weights_only=True)
        items = state.items() if isinstance(state, dict) else ()
        kinds: dict[str, Any] = {name: value.dtype for name, value in items if isinstance(value, Tensor)}
    else:
        with safe_open(path, framework="pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no mapping
    for name, kind in kinds.items():
        if kind not in FLOATS and not name.endswith(PLACES):
            raise ValueError(
                f"{name} in {path.name} is {str(kind).removeprefix('torch.')}, expected fp16, bf16, fp32 or fp64"
            )


def check_tokenizer_files(source: str) -> None:
    """Check that a folder has the files of a tokenizer: without them transformers makes one that knows no word.

    Args:
        source: the folder; a Hub id passes.

    Raises:
        ValueError: they are missing.
    """
    if not os.path.isdir(source):
        return
    names = {path.name for path in Path(source).iterdir() if path.is_file()}
    if not names & {*VOCABULARIES}:
        raise ValueError(
            f"it has no tokenizer files, expected {' or '.join(VOCABULARIES[:2])} of its model beside the weights"
        )
    if names & {*VOCABULARIES, MERGES} == {"vocab.json"}:
        raise ValueError(f"of its tokenizer it has vocab.json alone, expected {MERGES} beside it")


def check_tokenizer(backbone: Backbone) -> None:
    """Check that a tokenizer puts a text between the start token, if the family has one, and the end token of its text tower.

    Raises:
        InputError: it is that of another model.
    """
    tokenizer, tower, starts = backbone.tokenizer, backbone.clip.text_model.config, backbone.layout.starts
    start, end, fill = (getattr(tokenizer, f"{place}_token_id", None) for place in ("bos", "eos", "pad"))
    ids = tokenizer("X", verbose=False).input_ids
    if end is None or ids[-1:] != [end] or (starts and (start is None or ids[0] != start)) or len(ids) < starts + 2:
        place = "between a start and an end token" if starts else "before an end token"
        what = f"that does not put a text {place}, as that of a {backbone.family} does"
    elif not starts and ids[0] == start:
        what = f"that puts a start token before a text, which no {backbone.family} was trained with"
    elif not starts and fill is None:
        what = f"without a token to fill up texts, which a {backbone.family} needs"
    elif starts and tower.eos_token_id != end and (backbone.layout.end is not None or _is_end(tower)):
        what = f"that ends a text with the token {end}, but its text tower expects {tower.eos_token_id}"
    elif (highest := max(*ids, fill or 0)) >= tower.vocab_size:
        what = f"that gives a text the token {highest}, but its text tower knows {tower.vocab_size} tokens, from 0"
    else:
        return
    raise InputError(
        f"backbone {backbone.name!r} has a tokenizer {what}: use the tokenizer files that belong to its weights",
        "backbone",
    )


def _is_end(tower: Any) -> bool:
    """Return whether the end token in the configuration of a CLIP's text tower is one that transformers looks for."""
    return tower.eos_token_id != LEGACY_END and tower.eos_token_id in range(tower.vocab_size)


def _rows_of_blocks(tower: Any) -> int:
    """Return the rows, each as wide as a token, of all matrices of the blocks; their norms and biases are few."""
    return tower.num_hidden_layers * (4 * tower.hidden_size + 2 * tower.intermediate_size)


def _rows_of_embeddings(tower: Any) -> int:
    """Return the rows of the embeddings: of tokens and their positions, or of the pixels of a patch and the patches."""
    if hasattr(tower, "vocab_size"):
        return tower.vocab_size + tower.max_position_embeddings
    positions = getattr(tower, "num_patches", None) or (tower.image_size // tower.patch_size) ** 2
    return tower.num_channels * tower.patch_size**2 + positions
