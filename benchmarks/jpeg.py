"""Write the frames of a clip as a folder of JPEG files, as in many data sets."""

from pathlib import Path

import av
from PIL import Image


def write_folder(path: Path, video: Path) -> None:
    """Write the frames of a video as JPEG files of quality 90."""
    path.mkdir()
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(path / f"{number}.jpg", quality=90)
