"""The temporary folder of a server, which is deleted when the server ends."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peclip.errors import InputError


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create the folder, and delete it at the end.

    When Gradio is imported, it creates its folder at the path that GRADIO_TEMP_DIR has then, which is below this one: import it
    afterwards.

    Raises:
        InputError: it cannot be made.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="peclip-serve-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(
            f"no folder for uploads can be created ({error.strerror}): set TMPDIR to a folder with free space"
        ) from error
    with made as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "gradio")
        yield Path(folder)
