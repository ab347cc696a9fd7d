"""Adapter packages: config.json and adapters.safetensors, in a folder or on the Hub."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load

from peclip.errors import InputError
from peclip.model.trained import Trained, check_config

CONFIG = "config.json"
WEIGHTS = "adapters.safetensors"

EXTRA = ("peclip_version", "weights_sha256", "dtype", "run")
"""What config.json has besides the entries of a checkpoint: the version that wrote it, a sum over the weights file,
their precision, and what is known of the training (None where nothing is)."""

LIMIT = 16_000_000
"""Bytes of a config.json; texts and token ids of a thousand classes take less than one million."""


def is_hub_id(name: str) -> bool:
    """Return whether a name could be a repository on the Hub, OWNER/NAME."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None and ".." not in name


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
    content = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != config.get("weights_sha256"):
        raise InputError(f"{source}: {WEIGHTS} is not the file that {CONFIG} was written with: copy the package again")
    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{source}: {WEIGHTS} is torn or corrupt: {str(error).splitlines()[0]}") from error
    return Trained(config, state, source)


def fetch_package(repository: str) -> Trained:
    """Read a package from the Hub, or from its local cache.

    Raises:
        InputError: it cannot be fetched, is not a package, or names a backbone in a folder, which only its author has.
    """
    try:
        files = [Path(hf_hub_download(repository, name)) for name in (CONFIG, WEIGHTS)]
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"{repository!r} is neither a file or folder here nor a package of peclip that could be fetched from the Hub"
        ) from error
    trained = read_package(files[0].parent, repository)
    check_portable(trained.config["backbone"], repository)
    return trained


def check_portable(backbone: str, source: str) -> None:
    """Check that a backbone can be had everywhere: it is on the Hub or comes with peclip.

    Raises:
        InputError: it is a folder.
    """
    if not (is_hub_id(backbone) or re.fullmatch(r"\w[\w-]*", backbone)):
        raise InputError(
            f"{source}: its backbone {backbone!r} is a folder; a package on the Hub needs one from the Hub"
        )


def _read_json(path: Path) -> Any:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path} has more than {LIMIT:,} bytes: it is no config.json of peclip")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is torn or is no JSON: {str(error).splitlines()[0]}") from error
