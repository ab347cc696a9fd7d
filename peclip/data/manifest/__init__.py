"""The manifest: one table of clips for every source, read from a csv file or made by the reader of a benchmark."""

from peclip.data.manifest.table import Clip, Manifest, Split

__all__ = ("Clip", "Manifest", "Split")
