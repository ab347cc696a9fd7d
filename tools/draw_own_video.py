"""Draws the pictures of docs/own_video.md: what peclip recognize answers about a film of synthetic people.

python tools/draw_own_video.py runs/demo/version_0 docs/images [--face_model FILE]

Two people sit side by side, then each is shown alone after a cut. The command is that of every user.
"""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from peclip.class_texts import ACTION_UNITS
from peclip.cli import main as peclip
from peclip.demo.acting import change, movement, turns
from peclip.demo.face import Artist, random_scene
from peclip.demo.tasks import person

FPS, WIDTH, HEIGHT = 12, 480, 270
FILM = "two_people.mp4"
FIRST, SECOND = 5_003, 5_010


@dataclass(frozen=True)
class Part:
    """A person in a shot.

    Attributes:
        who: the number of the person.
        left: edge of the portrait in pixels.
        side: of the portrait in pixels.
        before: expression at first.
        after: expression at last.
    """

    who: int
    left: int
    side: int
    before: str
    after: str


SHOTS: tuple[tuple[Part, ...], ...] = (
    (Part(FIRST, 40, 180, "neutral", "happiness"), Part(SECOND, 260, 180, "sadness", "sadness")),
    (Part(SECOND, 110, 260, "sadness", "surprise"),),
    (Part(FIRST, 110, 260, "happiness", "anger"),),
)
SECONDS = 4


def frames() -> Iterator[np.ndarray]:
    """Yield the frames of the film, uint8 (H, W, 3)."""
    for number, parts in enumerate(SHOTS):
        rng, count = np.random.default_rng(number), SECONDS * FPS
        acted = [
            (
                part,
                Artist(person(part.who), random_scene(np.random.default_rng(part.who)), part.side),
                movement(rng, count),
                change(rng, ACTION_UNITS[part.before], ACTION_UNITS[part.after], turns(rng, count)),
            )
            for part in parts
        ]
        for time in range(count):
            picture = np.full((HEIGHT, WIDTH, 3), (176, 170, 158), np.uint8)
            for part, artist, poses, units in acted:
                picture[HEIGHT - part.side :, part.left : part.left + part.side] = artist.draw(poses[time], units[time])
            yield picture


def write_film(path: Path) -> None:
    """Write the film as H.264."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in frames():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))


def draw_people(folder: Path, target: Path) -> None:
    """Put the pictures of the people of a folder side by side, each with its number."""
    paths = sorted((folder / "people").glob("*.jpg"))
    side, line = 96, 18
    sheet = Image.new("RGB", (len(paths) * (side + 8) - 8, side + line), "white")
    for place, path in enumerate(paths):
        sheet.paste(Image.open(path).resize((side, side)), (place * (side + 8), 0))
        number = path.stem.rpartition("-")[2]
        ImageDraw.Draw(sheet).text((place * (side + 8) + side // 2 - 3, side + 3), number, fill="black")
    sheet.save(target, optimize=True)


def main() -> None:
    """Make the film, recognize it with and without --same, and keep the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of the demo")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--face_model", type=Path, help="the ONNX file of YuNet; by default that of the Hub")
    options = parser.parse_args()
    run, out = options.run.resolve(), options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    detector = ["--face_model", str(options.face_model.resolve())] if options.face_model else []
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
    ):  # titles name files without this machine's folders
        write_film(Path(FILM))
        command = ["recognize", FILM, "--model", str(run), *detector]
        peclip([*command, "--out", "apart"])
        draw_people(Path("apart"), out / "own_video_faces.png")
        peclip([*command, "--same", "1,4", "--same", "2,3", "--out", "together"])
        shutil.copy(next(Path("together").glob("*.png")), out / "own_video.png")
    picture = Image.open(out / "own_video.png").convert("RGB")
    picture.thumbnail((1000, 1000))
    picture.quantize(256).save(out / "own_video.png", optimize=True)


if __name__ == "__main__":
    main()
