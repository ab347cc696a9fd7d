"""Draws the README's picture of the demo data: the seven expressions on seven faces, and two clips over time.

python tools/draw_contact_sheet.py docs/images/demo_faces.png
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from peclip.class_texts import ACTION_UNITS
from peclip.demo import acting
from peclip.demo.face import Artist, random_scene
from peclip.demo.tasks import TRAIN_PEOPLE, person
from peclip.labels import SEVEN

SIZE, FACES, MARGIN = 112, 7, 98
CLIPS = (("happiness", "anger"), ("anger", "happiness"))
"""Expressions that the clips go from and to; the latter is the label."""


def faces(label: str) -> list[NDArray[np.uint8]]:
    """Seven people at the apex of an expression."""
    pictures = []
    for number in TRAIN_PEOPLE[:FACES]:
        rng = np.random.default_rng((number, SEVEN.index(label)))
        artist = Artist(person(number), random_scene(rng), SIZE)
        pose = replace(acting.movement(rng, 32)[16], blink=0.0, talk=0.0, pucker=0.0)
        (units,) = acting.expression(rng, ACTION_UNITS[label], np.ones(1))
        pictures.append(artist.draw(pose, units))
    return pictures


def clip(before: str, after: str, number: int) -> list[NDArray[np.uint8]]:
    """Seven moments of one clip."""
    rng = np.random.default_rng((number, 7))
    artist = Artist(person(number), random_scene(rng), SIZE)
    poses = acting.movement(rng, 32)
    units = acting.change(rng, ACTION_UNITS[before], ACTION_UNITS[after], acting.turns(rng, 32))
    return [artist.draw(poses[time], units[time]) for time in np.linspace(0, 31, FACES).astype(int)]


def main(path: Path) -> None:
    """Lay the faces out in rows with their labels and save a PNG of 256 colours."""
    rows = [(label, faces(label)) for label in SEVEN]
    rows += [(f"to {after}", clip(before, after, TRAIN_PEOPLE[12])) for before, after in CLIPS]
    sheet = Image.new("RGB", (MARGIN + FACES * SIZE, len(rows) * SIZE), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, (label, pictures) in enumerate(rows):
        pen.text((MARGIN - 8, row * SIZE + SIZE // 2), label, fill="black", font=font, anchor="rm")
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (MARGIN + column * SIZE, row * SIZE))
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = sheet.quantize(256)
    sheet.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
