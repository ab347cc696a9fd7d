"""Films of people in a room, of whom is known where they are in which frame.

The faces are those of :mod:`peclip.demo.face`, which YuNet finds where a portrait has at least 70 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from peclip.demo.face import ActionUnits, Artist, Pose, random_person, random_scene

FPS = 25
SIZE = (320, 240)

FACE = (0.5, 0.56, 0.8)
"""Box that YuNet finds in a portrait: x and y of its centre and its longer side, as shares of the portrait's side."""


@dataclass(frozen=True)
class Visit:
    """One person in a film.

    Args:
        who: the number of the person.
        x: left edge of the portrait in the first frame of the visit, in pixels.
        y: its upper edge.
        frames: those in which the person is there.
        side: of the portrait, in pixels.
        speed: pixels by which the person moves to the right from frame to frame.
    """

    who: int
    x: int
    y: int
    frames: range
    side: int = 110
    speed: float = 0

    def left(self, frame: int) -> int:
        """Return the left edge of the portrait in a frame."""
        return round(self.x + self.speed * (frame - self.frames.start))

    def place(self, frame: int) -> tuple[float, float, float]:
        """Return x and y of the centre of the face in a frame, and its longer side."""
        x, y, share = FACE
        return self.left(frame) + x * self.side, self.y + y * self.side, share * self.side


def film(visits: Sequence[Visit], frames: int) -> np.ndarray:
    """Return a film of people in a room, uint8 (N, H, W, 3), RGB; who comes later in the list stands in front."""
    pictures = np.tile(room(), (frames, 1, 1, 1))
    for visit in visits:
        for frame in visit.frames:
            left = visit.left(frame)
            whole = portrait(visit.who, visit.side, frame)
            shown = whole[:, max(-left, 0) : SIZE[0] - left]
            pictures[frame, visit.y : visit.y + visit.side, max(left, 0) : max(left, 0) + shown.shape[1]] = shown
    return pictures


def portrait(who: int, side: int, frame: int) -> np.ndarray:
    """Return a person at a moment, uint8 (S, S, 3), RGB: the head sways a little, and the mouth speaks."""
    seconds = frame / FPS
    pose = Pose(x=0.02 * np.sin(3 * seconds), roll=0.04 * np.sin(2 * seconds), talk=0.5 + 0.5 * np.sin(20 * seconds))
    return artist(who, side).draw(pose, ActionUnits(lip_corner_puller=0.3))


@cache
def artist(who: int, side: int) -> Artist:
    """Return who draws the portraits of a person."""
    return Artist(random_person(np.random.default_rng(who)), random_scene(np.random.default_rng(who)), side)


@cache
def room() -> np.ndarray:
    """Return a wall with a pattern and a darker floor, uint8 (H, W, 3), RGB."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    light = 150 + 25 * np.sin(x / 17) * np.sin(y / 23) - 60 * (y > 0.8 * height)
    return np.stack([light, 0.95 * light, 0.85 * light], axis=2).astype(np.uint8)
