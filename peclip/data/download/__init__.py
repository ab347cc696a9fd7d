"""Download public data sets from their official addresses, with their official checksums."""

from peclip.data.download.sets import ASKED, SETS, download

__all__ = ("ASKED", "SETS", "download")
