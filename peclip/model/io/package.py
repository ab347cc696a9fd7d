"""Adapter packages: config.json, adapters.safetensors and a model card, in a folder or on the Hub."""

import hashlib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import HfApi, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load, save

from peclip import __version__
from peclip.errors import InputError, first_line
from peclip.files import atomic_folder, read_regular, read_regular_text
from peclip.json_text import parse_json
from peclip.model.backbones.checks import quiet
from peclip.model.backbones.load import DEMO
from peclip.model.hub import HUB_ERRORS
from peclip.model.io.trained import ModelConfig, Trained
from peclip.model.naming import method_name
from peclip.model.weights import check_weights
from peclip.results.card import PackageFacts, RunRecord, card, read_run

CONFIG = "config.json"
WEIGHTS = "adapters.safetensors"
CARD = "README.md"

EXTRA = ("peclip_version", "dtype", "weights_sha256", "run")
"""Entries of config.json besides those of a checkpoint: the version that wrote it, the precision of the weights, a digest
of their file, and what is known of the training (null if nothing is)."""

LIMIT = 16_000_000
"""Bytes of a config.json; texts and token ids of a thousand classes take less than one million."""

Dtype = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def is_hub_id(name: str) -> bool:
    """Return whether a name could be a repository on the Hub, OWNER/NAME."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None and ".." not in name


def write_package(trained: Trained, folder: Path, dtype: Dtype = "fp32") -> None:
    """Write a package: complete, or not at all.

    Args:
        trained: the model.
        folder: folder of the package; must be absent or empty.
        dtype: precision of the weights; bf16 halves the file and changes logits in the third digit.

    Raises:
        InputError: the folder holds something or cannot be written, an argument of an adapter is not plain data, or a weight
            is not finite in this precision.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}, expected {' or '.join(DTYPES)}", "dtype")
    state = {name: value.detach().cpu().to(DTYPES[dtype]).contiguous() for name, value in trained.state.items()}
    check_weights(state, f"{trained.source} in {dtype}")
    weights = save(state)
    config = trained.config.to_plain() | {
        "peclip_version": __version__,
        "dtype": dtype,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "run": trained.record and trained.record.as_json(),
    }
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"{trained.source}: an argument of an adapter or prompt is not plain data: {error}") from error
    facts = PackageFacts(
        backbone=trained.config.backbone,
        labels=trained.config.labels,
        texts=trained.config.texts or {},
        clip_format=trained.config.clip_format,
        parameters=sum(value.numel() for value in state.values()),
        dtype=dtype,
        size=len(weights),
        method=method_name(trained.config),
        run=trained.record,
    )
    content = {CONFIG: text.encode(), WEIGHTS: weights, CARD: card(facts).encode()}
    _write_folder(folder, content)


def read_package(folder: Path, source: str | None = None) -> Trained:
    """Read a package from a folder.

    Args:
        folder: contains config.json and adapters.safetensors.
        source: name of the package in messages; by default the folder.

    Raises:
        InputError: a file is missing, damaged, or is not what its name says.
    """
    source = source or str(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{source} is not a package of peclip: it has no {name}")
    plain = _read_json(folder / CONFIG)
    config = ModelConfig.from_plain(plain, f"{source}: {CONFIG}", EXTRA)
    record = None if plain.get("run") is None else RunRecord.from_json(plain["run"], f"{source}: {CONFIG}: run")
    content = read_regular(folder / WEIGHTS)
    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise InputError(f"{source}: {WEIGHTS} is damaged: {first_line(error)}") from error
    if hashlib.sha256(content).hexdigest() != plain.get("weights_sha256"):
        raise InputError(f"{source}: {WEIGHTS} is not the file that {CONFIG} was written with: copy the package again")
    return Trained(config, state, source, record=record)


def with_record(trained: Trained) -> Trained:
    """Add what the run of a checkpoint says of its training; scores only for the checkpoint that they were measured on.

    Raises:
        InputError: metrics.json or config.yaml of the run is damaged.
    """
    file = Path(trained.source)
    if file.suffix != ".ckpt" or file.parent.name != "checkpoints":
        return trained
    known = read_run(file.parents[1])
    if known and file.stem != "best":
        known = replace(known, scores=None)
    return replace(trained, record=known)


def fetch_package(repository: str) -> Trained:
    """Read a package from the Hub, or from its local cache.

    Raises:
        InputError: it cannot be fetched, is not a package, or names a backbone in a folder, which only its author has.
    """
    try:
        with quiet():
            folder = Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS]))
    except HUB_ERRORS as error:
        raise InputError(
            f"{repository!r} is neither a local file or folder nor a package of peclip that could be fetched from the Hub"
        ) from error
    trained = read_package(folder, repository)
    check_portable(trained)
    return trained


def push_package(trained: Trained, repository: str, dtype: Dtype, private: bool) -> str:
    """Upload a package to the Hub; a repository that does not exist is created.

    Args:
        trained: the model.
        repository: OWNER/NAME.
        dtype: precision of the weights, as for :func:`write_package`.
        private: whether a new repository is private.

    Returns:
        The address of the package.

    Raises:
        InputError: the name is not valid, the backbone is a local folder, or the Hub refuses.
    """
    if not is_hub_id(repository):
        raise InputError(f"repository is {repository!r}, expected a name on the Hub, OWNER/NAME", "repository")
    check_portable(trained)
    if trained.config.backbone != DEMO and os.path.exists(trained.config.backbone):
        raise _not_portable(trained)  # it only looks like a Hub id
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "package"
        write_package(trained, folder, dtype)
        try:
            api = HfApi()
            address = str(api.create_repo(repository, private=private, exist_ok=True))
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"peclip {__version__}")
        except HUB_ERRORS as error:
            raise InputError(
                f"cannot push to {repository!r}: {first_line(error)}; check the network, and log in with: hf auth login"
            ) from error
    return address


def check_portable(trained: Trained) -> None:
    """Check that everybody can load the backbone: it is on the Hub or comes with peclip.

    Raises:
        InputError: it is a folder or file.
    """
    backbone = trained.config.backbone
    if not (is_hub_id(backbone) or re.fullmatch(r"\w[\w-]*", backbone)):
        raise _not_portable(trained)


def _not_portable(trained: Trained) -> InputError:
    return InputError(
        f"{trained.source}: its backbone {trained.config.backbone!r} is a folder or file; a package on the Hub needs a backbone "
        "on the Hub"
    )


def check_free(path: Path) -> None:
    """Check that nothing would be overwritten.

    Raises:
        InputError: it is a file, or a folder that is not empty.
    """
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise InputError(f"{path} exists: choose another name, or remove it")


def _write_folder(folder: Path, content: dict[str, bytes]) -> None:
    """Write files into a new folder, which appears when all of them are on disk."""
    check_free(folder)
    with atomic_folder(folder) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)


def _read_json(path: Path) -> Any:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path} has more than {LIMIT:,} bytes: it is not a config.json of peclip")
    try:
        return parse_json(read_regular_text(path))
    except ValueError as error:
        raise InputError(f"{path} is damaged or not JSON: {first_line(error)}") from error
