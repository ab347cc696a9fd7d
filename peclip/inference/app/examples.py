"""Make the examples of the page: short videos of synthetic faces."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from peclip.class_texts import ACTION_UNITS
from peclip.demo.acting import change, movement, turns
from peclip.demo.face import Artist, random_person, random_scene

FPS, SECONDS, SIDE = 10, 4, 240


class Example(NamedTuple):
    """An example.

    Attributes:
        name: text on its button.
        file: its file name.
        before: class that it shows first.
        after: class that it shows at the end.
        seed: seed from which person, scene and movement are generated.
    """

    name: str
    file: str
    before: str
    after: str
    seed: int


EXAMPLES = (
    Example("A smile", "smile.mp4", "neutral", "happiness", 1),
    Example("Surprise, then anger", "surprise_then_anger.mp4", "surprise", "anger", 5),
)


def write_example(path: Path, example: Example) -> None:
    """Draw the video of an example and write it, as H.264 that every browser plays."""
    rng, frames = np.random.default_rng(example.seed), FPS * SECONDS
    units = change(rng, ACTION_UNITS[example.before], ACTION_UNITS[example.after], turns(rng, frames))
    artist = Artist(random_person(rng), random_scene(rng), SIDE)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": "20"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for pose, unit in zip(movement(rng, frames), units, strict=True):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(artist.draw(pose, unit), format="rgb24")))
        output.mux(stream.encode(None))
