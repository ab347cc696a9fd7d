"""Videos that are answered in a night: the options of their command, and the tables of its folder."""

from dataclasses import replace

from peclip.inference.settings import Options
from tests.inference.test_timeline import SETTINGS

OPTIONS = Options(SETTINGS, digest="1")
WITH_SUBTITLES = replace(OPTIONS, formats=("srt",))
TABLES = ("timeline.csv", "segments.csv", "summary.csv", "timeline.json")


def content(folder):
    """Return the text of each table in a folder of answers."""
    return {name: (folder / name).read_text() for name in TABLES}
