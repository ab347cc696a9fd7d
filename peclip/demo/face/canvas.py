"""The surface a face is drawn on: pixels with coordinates, and shapes with soft edges.

Coordinates: the head is about two units high; ``x`` grows to the right, ``y`` downwards, the origin lies between eyes
and nose tip. A shape is a distance in those coordinates, turned into a coverage between 0 and 1.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from peclip.demo.face.people import Pose

Array = NDArray[np.floating]
Colour = tuple[float, float, float] | Array


@dataclass
class Region:
    """A part of the picture (3, H, W) with the coordinates of its pixels; painting writes through to the picture."""

    image: Array
    x: Array
    y: Array
    sharpness: float

    def turned(self, pose: Pose) -> "Region":
        """Return the coordinates of the face on a head that is turned: features shift, most in the middle of the head."""
        x = self.x - np.float32(pose.yaw) * np.maximum(1 - self.x * self.x, 0)
        y = self.y - np.float32(pose.pitch) * np.maximum(1 - self.y * self.y, 0)
        return replace(self, x=x, y=y)

    def crop(self, side: float, top: float, bottom: float) -> "Region":
        """Return the smallest rectangle of pixels that holds ``|x| < side`` and ``top < y < bottom``."""
        inside = (np.abs(self.x) < side) & (self.y > top) & (self.y < bottom)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            rows = columns = np.zeros(1, np.intp)
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Region(self.image[:, *part], self.x[part], self.y[part], self.sharpness)

    def cover(self, distance: Array) -> Array:
        """Return the coverage where the distance is positive, with an edge one pixel wide."""
        # Faster than np.clip on arrays this small.
        coverage: Array = np.minimum(np.maximum(distance * np.float32(self.sharpness) + np.float32(0.5), 0), 1)
        return coverage

    def ellipse(self, x: Array, y: float | Array, width: float, height: float) -> Array:
        """Return the coverage of an ellipse whose centre is where x is zero and the region's y equals y."""
        q = np.sqrt((x / width) ** 2 + ((self.y - y) / height) ** 2)
        return self.cover((1 - q) * min(width, height))

    def stroke(self, x: Array, y: Array, start: float, end: float, width: float | Array) -> Array:
        """Return the coverage of a line along the curve y, from x = start to x = end."""
        return self.cover(width - np.abs(self.y - y)) * self.cover(x - start) * self.cover(end - x)

    def paint(self, coverage: Array, colour: Colour) -> None:
        """Lay the colour over the picture where the coverage is."""
        self.image += coverage * (np.asarray(colour, np.float32)[:, None, None] - self.image)

    def shade(self, coverage: Array, factor: float) -> None:
        """Multiply the colours under the coverage by the factor."""
        self.image *= 1 + coverage * np.float32(factor - 1)
