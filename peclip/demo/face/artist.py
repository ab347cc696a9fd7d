"""Draw a face, from the background to the glasses."""

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from peclip.demo.face import features, head
from peclip.demo.face.canvas import Region
from peclip.demo.face.people import ActionUnits, Person, Pose, Scene


class Artist:
    """Draws one person in one scene; what does not change from frame to frame is computed once.

    Args:
        person: person that is drawn.
        scene: background, light and exposure of the picture.
        size: height and width of the picture in pixels.
    """

    def __init__(self, person: Person, scene: Scene, size: int = 96) -> None:
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
        self.person, self.scene, self.size = person, scene, size
        self.xs, self.ys = (xs + 0.5) * (2 / size) - 1, (ys + 0.5) * (2 / size) - 1
        self.background = scene.background(self.xs, self.ys)
        self.light = scene.light(self.xs, self.ys)

    def draw(self, pose: Pose, units: ActionUnits) -> NDArray[np.uint8]:
        """Return the picture, uint8 (size, size, 3) in RGB."""
        person, page = self.person, self._page(pose)
        jaw = 0.17 * units.jaw_drop + 0.06 * pose.talk
        head.behind(page, person)
        head.head(page, person, self.scene, jaw)
        front = page.turned(pose)
        features.forehead_and_cheeks(front.crop(0.8, -0.85, 0.6), person, units)
        head.beard(front.crop(0.85, -0.1, 1.3), person, jaw)
        features.nose(front.crop(0.4, -0.3, 0.5), person, units)
        features.mouth(front.crop(0.7, 0.1, 1.15), person, pose, units)
        features.eyes(front.crop(0.75, -0.5, 0.25), person, pose, units)
        features.brows(front.crop(0.75, -0.8, 0.05), person, units)
        head.hair(page.crop(1.1, -1.3, 0.4), person)
        head.glasses(front.crop(0.8, -0.5, 0.3), person)
        lit = np.clip(page.image * self.light, 0, 1)
        return np.ascontiguousarray(rearrange((lit * 255 + 0.5).astype(np.uint8), "c h w -> h w c"))

    def _page(self, pose: Pose) -> Region:
        """Return the whole picture, empty but for the background, in the coordinates of the head."""
        zoom = 1.18 / pose.scale
        cos, sin = np.float32(zoom * np.cos(pose.roll)), np.float32(zoom * np.sin(pose.roll))
        x = self.xs * cos + self.ys * sin - np.float32(pose.x)
        y = self.ys * cos - self.xs * sin - np.float32(pose.y + 0.05)
        return Region(self.background.copy(), x, y, self.size / (2 * zoom))
