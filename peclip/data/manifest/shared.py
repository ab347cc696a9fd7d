"""Manifests of worker processes: the table is written once, into memory that all workers map.

A copy of the table of a million clips would take 98 MB in each worker.
"""

import mmap
import os
from multiprocessing.reduction import DupFd, register
from pathlib import Path
from pickle import HIGHEST_PROTOCOL
from typing import Any
from weakref import WeakKeyDictionary

import pyarrow as pa

from peclip.data.manifest.table import Manifest

_shared: WeakKeyDictionary[Manifest, Any] = WeakKeyDictionary()


def share_manifests() -> None:
    """Let the processes that this one starts map the tables of manifests; outside of Linux each gets a copy."""
    if hasattr(os, "memfd_create"):
        register(Manifest, _share)


def _share(clips: Manifest) -> Any:
    """Reduce a manifest to the memory file of its table, and to what it was read from."""
    if clips not in _shared:
        try:
            unread = ["split", "fold", "subject", *clips.fold_columns.values()]
            table = pa.Table.from_pandas(clips.table.drop(columns=unread), preserve_index=False)
        except UnicodeEncodeError:  # the name of a file need not be UTF-8
            return clips.__reduce_ex__(HIGHEST_PROTOCOL)
        file = os.fdopen(os.memfd_create("clips"), "wb")
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        file.flush()
        _shared[clips] = file
    return _receive, (DupFd(_shared[clips].fileno()), clips.source, clips.root)


def _receive(file: Any, source: Path, root: Path | str) -> Manifest:
    with os.fdopen(file.detach(), "rb") as opened:
        content = pa.py_buffer(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    clips = Manifest.__new__(Manifest)  # without __init__: the table is complete
    clips.table = pa.ipc.open_stream(content).read_all().to_pandas(split_blocks=True)
    clips.source, clips.root, clips.notes = source, root, ()
    return clips
