"""Tell whether training would see whole frames of a data set that shows more than faces."""

from pathlib import Path

from peclip.data.benchmarks.actors import actor_of
from peclip.data.manifest import Manifest
from peclip.data.media.clip import clip_frames
from peclip.errors import InputError

NAMES = {"ravdess": "RAVDESS", "cremad": "CREMA-D"}
"""Data sets whose releases show head and shoulders in a wide picture."""

WIDE = 1.2
"""Width of a frame over its height from which it is not the crop of a face."""


def advice_on_whole_frames(manifest: Manifest) -> str:
    """Return a line of advice where clips are whole frames of RAVDESS or CREMA-D; empty for others."""
    if not len(manifest):
        return ""
    clip = manifest.clip(0)
    names = [name for benchmark, name in NAMES.items() if actor_of(benchmark, Path(clip.path))]
    if not names:
        return ""
    try:
        _, frame = next(clip_frames(clip.path, clip.start, clip.end))
    except (InputError, StopIteration):
        return ""  # the training reports it
    if frame.shape[1] < WIDE * frame.shape[0]:
        return ""
    return (
        f"These clips of {names[0]} are whole frames, but peclip recognize crops faces: crop these with peclip faces before, see "
        f"peclip recipes {next(key for key in NAMES if NAMES[key] == names[0])}"
    )
