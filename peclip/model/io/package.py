"""Adapter packages: config.json, adapters.safetensors and a model card, in a folder or on the Hub."""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load, save

from peclip import __version__
from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError, first_line
from peclip.files import atomic_folder
from peclip.model.io.trained import Config, Trained, check_config
from peclip.results.card import PackageFacts, RunRecord, card

CONFIG = "config.json"
WEIGHTS = "adapters.safetensors"
CARD = "README.md"

EXTRA = ("peclip_version", "dtype", "weights_sha256", "run")
"""What config.json has besides the entries of a checkpoint: the version that wrote it, the precision of the weights, a
sum over their file, and what :mod:`peclip.results.card` knows of the training (null where nothing is)."""

LIMIT = 16_000_000
"""Bytes of a config.json; texts and token ids of a thousand classes take less than one million."""

Dtype = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

HUB_ERRORS: Any = (HfHubHTTPError.__mro__[1], OSError, ValueError)
"""What huggingface_hub raises; the first is the base class of the errors of its HTTP client, which is not always the
same library."""


def is_hub_id(name: str) -> bool:
    """Return whether a name could be a repository on the Hub, OWNER/NAME."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None and ".." not in name


def write_package(trained: Trained, folder: Path, dtype: Dtype = "fp32") -> None:
    """Write a package: whole, or not at all.

    Args:
        trained: what goes into it; ``config["run"]`` may say what is known of the training.
        folder: where to; it must not be there, or be empty.
        dtype: precision of the weights; bf16 halves the file and changes logits in the third digit.

    Raises:
        InputError: there is something already, the folder cannot be written, or an argument of an adapter is not plain
            data.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}, expected {' or '.join(DTYPES)}")
    state = {name: value.detach().cpu().to(DTYPES[dtype]).contiguous() for name, value in trained.state.items()}
    weights = save(state)
    config = {key: value for key, value in trained.config.items() if key not in EXTRA}
    config |= {"peclip_version": __version__, "dtype": dtype, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    config["run"] = trained.config.get("run")
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"{trained.source}: an argument of an adapter or prompt is no plain data: {error}") from error
    facts = _facts(config, sum(value.numel() for value in state.values()), len(weights))
    content = {CONFIG: text.encode(), WEIGHTS: weights, CARD: card(facts).encode()}
    _write_folder(folder, content)


def _facts(config: Config, parameters: int, size: int) -> PackageFacts:
    """Return what the model card tells of a package."""
    clips = config["input"]
    pixels = (UNIT_MEAN, UNIT_STD) if clips["normalize"] == "none" else (CLIP_MEAN, CLIP_STD)
    return PackageFacts(
        backbone=config["backbone"],
        labels=tuple(config["labels"]),
        texts=config.get("texts", {}),
        clip_format=ClipFormat(clips["num_frames"], clips["image_size"], *pixels),
        parameters=parameters,
        dtype=config["dtype"],
        size=size,
        run=config["run"] and RunRecord.from_json(config["run"], "run"),
    )


def read_package(folder: Path, source: str | None = None) -> Trained:
    """Read a package from a folder.

    Args:
        folder: holds config.json and adapters.safetensors.
        source: what to call it in messages; the folder by default.

    Raises:
        InputError: a file is missing, torn or corrupt, or is not what its name says.
    """
    source = source or str(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{source} is no package of peclip: it has no {name}")
    config = check_config(_read_json(folder / CONFIG), f"{source}: {CONFIG}", EXTRA)
    if config.get("run") is not None:
        RunRecord.from_json(config["run"], f"{source}: {CONFIG}: run")
    content = (folder / WEIGHTS).read_bytes()
    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise InputError(f"{source}: {WEIGHTS} is torn or corrupt: {first_line(error)}") from error
    if hashlib.sha256(content).hexdigest() != config.get("weights_sha256"):
        raise InputError(f"{source}: {WEIGHTS} is not the file that {CONFIG} was written with: copy the package again")
    return Trained(config, state, source)


def fetch_package(repository: str) -> Trained:
    """Read a package from the Hub, or from its local cache.

    Raises:
        InputError: it cannot be fetched, is not a package, or names a backbone in a folder, which only its author has.
    """
    try:
        folder = Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS]))
    except HUB_ERRORS as error:
        raise InputError(
            f"{repository!r} is neither a file or folder here nor a package of peclip that could be fetched from the Hub"
        ) from error
    trained = read_package(folder, repository)
    check_portable(trained)
    return trained


def push_package(trained: Trained, repository: str, dtype: Dtype = "fp32", private: bool = False) -> str:
    """Upload a package to the Hub; the repository is made if it is not there.

    Args:
        trained: what goes into it.
        repository: OWNER/NAME.
        dtype: as for :func:`write_package`.
        private: whether a new repository is private.

    Returns:
        The address of the package.

    Raises:
        InputError: the name is none, the backbone is only in a folder here, or the Hub refuses.
    """
    if not is_hub_id(repository):
        raise InputError(f"{repository!r} is no repository on the Hub, expected OWNER/NAME")
    check_portable(trained)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "package"
        write_package(trained, folder, dtype)
        try:
            api = HfApi()
            address = str(api.create_repo(repository, private=private, exist_ok=True))
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"peclip {__version__}")
        except HUB_ERRORS as error:
            reason = first_line(error)
            raise InputError(
                f"cannot push to {repository!r}: {reason}; check the network, and log in with: hf auth login"
            ) from error
    return address


def check_portable(trained: Trained) -> None:
    """Check that the backbone can be had everywhere: it is on the Hub or comes with peclip.

    Raises:
        InputError: it is a folder.
    """
    backbone = trained.config["backbone"]
    if not (is_hub_id(backbone) or re.fullmatch(r"\w[\w-]*", backbone)):
        raise InputError(
            f"{trained.source}: its backbone {backbone!r} is a folder; a package on the Hub needs one that is there too"
        )


def check_free(path: Path) -> None:
    """Check that nothing would be overwritten.

    Raises:
        InputError: there is a file, or a folder that is not empty.
    """
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise InputError(f"{path} is there already: give another name, or remove it")


def _write_folder(folder: Path, content: dict[str, bytes]) -> None:
    """Write files into a new folder, which appears when all of them are on the disk."""
    check_free(folder)
    with atomic_folder(folder) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)


def _read_json(path: Path) -> Any:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path} has more than {LIMIT:,} bytes: it is no config.json of peclip")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is torn or is no JSON: {first_line(error)}") from error
