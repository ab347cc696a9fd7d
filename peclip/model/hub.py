"""Ask the Hub once whether it can be reached: huggingface_hub tries five times, for 23 seconds, with every file of a model."""

from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

HUB_ERRORS: Any = (HfHubHTTPError.__mro__[1], OSError, ValueError)
"""Exceptions of huggingface_hub; the first is the base class of its HTTP client's errors, and that library varies."""

_PATIENCE = 10.0  # seconds


def is_reachable(repository: str) -> bool:
    """Return whether the Hub answers about a repository, also if it answers that there is none."""
    try:
        HfApi().model_info(repository, timeout=_PATIENCE)
    except HfHubHTTPError:
        return True
    except HUB_ERRORS:
        return False
    return True


def on_hub(repository: str) -> str:
    """Return the Hub id of a model, or without a network the folder of its copy in the local cache.

    Raises:
        OSError: there is neither a network nor a copy.
    """
    return repository if is_reachable(repository) else snapshot_download(repository, local_files_only=True)
