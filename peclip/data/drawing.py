"""Draws one cartoon face from action units: numpy shapes with soft edges, no images, no fonts, no state.

Coordinates: the head is about two units high; ``x`` grows to the right, ``y`` downwards, the origin lies between eyes
and nose tip. A region holds the coordinates of its pixels, and every feature is a distance in those coordinates that
is turned into a coverage between 0 and 1. Features are symmetric, so most are written for ``|x|``.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from peclip.data.people import Person, Scene

Array = NDArray[np.float32]
Colour = tuple[float, float, float] | Array

DARK = np.array((0.10, 0.05, 0.05), np.float32)
TEETH = np.array((0.95, 0.94, 0.90), np.float32)
MOUTH = np.array((0.30, 0.06, 0.08), np.float32)
TONGUE = np.array((0.80, 0.36, 0.38), np.float32)


@dataclass(frozen=True)
class ActionUnits:
    """Intensities in [0, 1] of the action units that the class texts name; a field is the name in lower case."""

    inner_brow_raiser: float = 0.0
    outer_brow_raiser: float = 0.0
    brow_lowerer: float = 0.0
    upper_lid_raiser: float = 0.0
    lid_tightener: float = 0.0
    cheek_raiser: float = 0.0
    nose_wrinkler: float = 0.0
    lip_corner_puller: float = 0.0
    lip_corner_depressor: float = 0.0
    lower_lip_depressor: float = 0.0
    lip_stretcher: float = 0.0
    lip_tightener: float = 0.0
    jaw_drop: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where the head is and what moves without meaning anything.

    Args:
        x, y: shift in head units.
        scale: 1 shows the head with a margin of a fifth.
        roll: rotation in the image plane, radians.
        yaw, pitch: turn of the head as a shift of its features, about -0.3 to 0.3.
        blink: 0 open to 1 shut.
        talk: opening of the mouth by speech, 0 to 1.
        pucker: rounding of the lips by speech, 0 to 1.
        gaze: sideways shift of the irises, about -1 to 1.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    blink: float = 0.0
    talk: float = 0.0
    pucker: float = 0.0
    gaze: float = 0.0


class Artist:
    """Draws one person in one scene; what does not change from frame to frame is worked out once.

    Args:
        person: who.
        scene: where.
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
        _behind(page, person)
        _head(page, person, self.scene, jaw)
        front = page.turned(pose)
        _forehead_and_cheeks(front.crop(0.8, -0.85, 0.6), person, units)
        _beard(front.crop(0.85, -0.1, 1.3), person, jaw)
        _nose(front.crop(0.4, -0.3, 0.5), person, units)
        _mouth(front.crop(0.7, 0.1, 1.15), person, pose, units)
        _eyes(front.crop(0.75, -0.5, 0.25), person, pose, units)
        _brows(front.crop(0.75, -0.8, 0.05), person, units)
        _hair(page.crop(1.1, -1.3, 0.4), person)
        _glasses(front.crop(0.8, -0.5, 0.3), person)
        lit = np.clip(page.image * self.light, 0, 1)
        return np.ascontiguousarray((lit * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))

    def _page(self, pose: Pose) -> "_Region":
        """The whole picture, empty but for the background, in the coordinates of the head."""
        zoom = 1.18 / pose.scale
        cos, sin = np.float32(zoom * np.cos(pose.roll)), np.float32(zoom * np.sin(pose.roll))
        x = self.xs * cos + self.ys * sin - np.float32(pose.x)
        y = self.ys * cos - self.xs * sin - np.float32(pose.y + 0.05)
        return _Region(self.background.copy(), x, y, self.size / (2 * zoom))


@dataclass
class _Region:
    """A part of the picture (3, H, W) with the coordinates of its pixels; painting writes through to the picture."""

    image: Array
    x: Array
    y: Array
    sharpness: float

    def turned(self, pose: Pose) -> "_Region":
        """The coordinates of the face on a head that is turned: features shift, most in the middle of the head."""
        x = self.x - np.float32(pose.yaw) * np.maximum(1 - self.x * self.x, 0)
        y = self.y - np.float32(pose.pitch) * np.maximum(1 - self.y * self.y, 0)
        return replace(self, x=x, y=y)

    def crop(self, side: float, top: float, bottom: float) -> "_Region":
        """The smallest rectangle of pixels that holds ``|x| < side`` and ``top < y < bottom``."""
        inside = (np.abs(self.x) < side) & (self.y > top) & (self.y < bottom)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            rows = columns = np.zeros(1, np.intp)
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return _Region(self.image[:, *part], self.x[part], self.y[part], self.sharpness)

    def cover(self, distance: Array) -> Array:
        """Coverage of what lies where the distance is positive, with an edge one pixel wide."""
        # Faster than np.clip on arrays this small.
        return np.minimum(np.maximum(distance * np.float32(self.sharpness) + np.float32(0.5), 0), 1)

    def ellipse(self, x: Array, y: float | Array, width: float, height: float) -> Array:
        """Coverage of an ellipse whose centre is where x is zero and the region's y equals y."""
        q = np.sqrt((x / width) ** 2 + ((self.y - y) / height) ** 2)
        return self.cover((1 - q) * min(width, height))

    def stroke(self, x: Array, y: Array, start: float, end: float, width: float | Array) -> Array:
        """Coverage of a line along the curve y, from x = start to x = end."""
        return self.cover(width - np.abs(self.y - y)) * self.cover(x - start) * self.cover(end - x)

    def paint(self, coverage: Array, colour: Colour) -> None:
        """Lay the colour over the picture where the coverage is."""
        self.image += coverage * (np.asarray(colour, np.float32)[:, None, None] - self.image)

    def shade(self, coverage: Array, factor: float) -> None:
        """Multiply the colours under the coverage by the factor."""
        self.image *= 1 + coverage * np.float32(factor - 1)


def _outline(region: _Region, person: Person, jaw: float, grow: float = 0.0) -> Array:
    """Distance to the edge of the head, positive inside; the jaw moves the chin down."""
    t = np.clip(region.y, 0, None)
    width = (person.width + grow) * (1 - person.taper * t * t)
    height = np.where(region.y < 0, 0.98 + grow, person.chin + jaw + grow).astype(np.float32)
    q = ((np.abs(region.x) / width) ** person.squareness + (np.abs(region.y) / height) ** person.squareness) ** (
        1 / person.squareness
    )
    return (1 - q) * person.width


def _behind(page: _Region, person: Person) -> None:
    """Long hair, shoulders and neck."""
    if person.long_hair:
        x, y = page.x, page.y
        fall = page.cover(person.width + 0.16 - np.abs(x) + 0.03 * y) * page.cover(1.15 - y) * page.cover(y + 0.1)
        top = page.ellipse(x, -0.1, person.width + 0.19, 1.05)
        page.paint(np.maximum(fall, top), person.hair * 0.75)
    low = page.crop(1.4, 0.55, 1.6)
    shoulders = low.cover((low.y - 1.12) - 0.35 * low.x * low.x) * low.cover(1.3 - np.abs(low.x))
    low.paint(shoulders, person.clothes)
    neck = low.cover(0.34 - np.abs(low.x)) * low.cover(low.y - 0.6) * low.cover(1.22 - low.y + 0.1 * low.x * low.x)
    low.paint(neck, person.skin * 0.78)


def _head(page: _Region, person: Person, scene: Scene, jaw: float) -> None:
    """Ears and the bare head: lighter where it faces the light, darker towards its rim, like a ball."""
    middle = page.crop(1.0, -0.3, 0.3)
    side = np.abs(middle.x) - person.width
    middle.paint(middle.ellipse(side, 0.02, 0.11, 0.19), person.skin * 0.9)
    middle.paint(middle.ellipse(side - 0.02, 0.02, 0.05, 0.11), person.skin * 0.72)
    page = page.crop(0.9, -1.05, 1.3)
    head = page.cover(_outline(page, person, jaw))
    page.paint(head, person.skin)
    toward = scene.light_x * page.x / person.width + scene.light_y * page.y
    rim = np.minimum((page.x / person.width) ** 2 * 0.5 + page.y**2 * 0.35, 1)
    page.image *= 1 + head * (0.13 * toward - 0.20 * rim * rim)


def _forehead_and_cheeks(face: _Region, person: Person, units: ActionUnits) -> None:
    """Wrinkles of raised brows, the bulge of raised cheeks, and the folds beside the nose."""
    side, lines = np.abs(face.x), person.wrinkles
    for height in (-0.60, -0.69):
        curve = height + 0.05 * side
        if units.inner_brow_raiser > 0:
            middle = face.stroke(side, curve, -1, 0.26, 0.011)
            face.shade(middle * units.inner_brow_raiser, 1 - 0.45 * lines)
        if units.outer_brow_raiser > 0:
            outer = face.stroke(side, curve + 0.25 * (side - 0.4) ** 2, 0.26, 0.52, 0.011)
            face.shade(outer * units.outer_brow_raiser, 1 - 0.45 * lines)
    lift = units.cheek_raiser
    bulge = np.exp(-(((side - 0.44) / 0.17) ** 2) - ((face.y - 0.24 + 0.07 * lift) / 0.13) ** 2).astype(np.float32)
    face.paint(bulge * np.float32(person.blush + 0.35 * lift), person.skin * np.array((1.08, 0.80, 0.78), np.float32))
    if lift > 0:
        bag = face.stroke(side, 0.085 + 1.6 * (side - 0.33) ** 2 - 0.03 * lift, 0.17, 0.50, 0.013)
        face.shade(bag * lift, 1 - 0.5 * lines)
        for slope in (-0.45, 0.05, 0.5):
            foot = face.stroke(side, -0.08 + slope * (side - 0.50), 0.55, 0.66, 0.010)
            face.shade(foot * lift, 1 - 0.5 * lines)
    fold = max(units.lip_corner_puller, 0.75 * units.nose_wrinkler, 0.25 * units.lip_stretcher)
    if fold > 0:
        wide = 0.17 + (0.10 + 0.12 * units.lip_corner_puller) * np.clip((face.y - 0.24) / 0.3, 0, 1) ** 0.7
        crease = face.cover(0.014 - np.abs(side - wide)) * face.cover(face.y - 0.22) * face.cover(0.54 - face.y)
        face.shade(crease * fold, 1 - 0.5 * lines)


def _nose(face: _Region, person: Person, units: ActionUnits) -> None:
    side, wrinkle = np.abs(face.x), units.nose_wrinkler
    tip, wide = 0.27 - 0.05 * wrinkle, person.nose * (1 + 0.18 * wrinkle)
    face.shade(face.ellipse(face.x, tip + 0.02, wide + 0.02, 0.07), 0.88)
    face.paint(face.ellipse(face.x, tip - 0.03, wide * 0.72, 0.08) * 0.8, person.skin * 1.06)
    bridge = face.cover(0.018 - np.abs(side - 0.055 - 0.03 * (face.y + 0.1))) * face.cover(face.y + 0.2)
    face.shade(bridge * face.cover(tip - 0.08 - face.y) * (0.5 + 0.5 * np.sign(face.x)), 0.84)
    face.paint(face.ellipse(side - wide * 0.55, tip + 0.035, 0.034, 0.02), person.skin * 0.35)
    wing = face.cover(0.013 - np.abs(np.hypot(side - wide * 0.75, face.y - tip) - 0.06)) * face.cover(side - wide)
    face.shade(wing, 0.62)
    if wrinkle > 0:
        for height in (-0.13, -0.05, 0.03):
            crease = face.stroke(side, height - 0.30 * side, -1, 0.12, 0.014)
            face.shade(crease * wrinkle, 1 - 0.6 * person.wrinkles)
        slope = face.cover(0.014 - np.abs(side - 0.12 - 0.15 * (face.y + 0.1)))
        face.shade(slope * face.cover(face.y + 0.14) * face.cover(0.18 - face.y) * wrinkle, 1 - 0.5 * person.wrinkles)


def _mouth(face: _Region, person: Person, pose: Pose, units: ActionUnits) -> None:
    smile, frown = units.lip_corner_puller, units.lip_corner_depressor
    stretch, tight, low = units.lip_stretcher, units.lip_tightener, units.lower_lip_depressor
    half = person.mouth + 0.10 * smile + 0.12 * stretch - 0.05 * tight - 0.02 * frown
    half = half - 0.09 * pose.pucker - 0.05 * units.jaw_drop * (1 - stretch)
    corner = -0.16 * smile + 0.14 * frown + 0.05 * stretch
    across = np.clip(np.abs(face.x) / half, 0, 1)
    bow = 1 - across * across
    line = 0.57 - 0.03 * units.nose_wrinkler + corner * (across * across - 0.4)
    upper = (0.035 * units.nose_wrinkler + 0.03 * stretch + 0.09 * units.jaw_drop * (1 - stretch)) * bow ** np.float32(
        0.6
    )
    drop = (
        0.30 * units.jaw_drop * (1 - 0.45 * stretch)
        + 0.13 * pose.talk
        + 0.12 * low
        + 0.04 * stretch
        + person.toothy * 0.13 * smile
    )
    # A jaw that drops with stretched corners makes a flat box, a relaxed one a round hole.
    lower = drop * bow ** np.float32(0.6 - 0.3 * max(stretch, low))
    thin = 1 - 0.75 * tight
    notch = 1 - 0.35 * np.exp(-((face.x / 0.05) ** 2))
    top = line - upper - person.lips * 0.85 * thin * notch * bow**0.8
    bottom = line + lower + person.lips * 1.15 * thin * bow**0.7
    within = face.cover(half - np.abs(face.x))
    lips = face.cover(face.y - top) * face.cover(bottom - face.y) * within
    hole = face.cover(face.y - line + upper) * face.cover(line + lower - face.y) * within
    face.paint(lips, person.lip_colour)
    gap = upper + lower
    face.paint(hole * (gap > 0.01), MOUTH)
    tongue = face.ellipse(face.x, line + lower + 0.02, half * 0.6, 0.09)
    face.paint(tongue * hole * min(1.0, 3 * units.jaw_drop), TONGUE)
    face.paint(hole * face.cover(line - upper + np.minimum(0.075, 0.6 * gap) - face.y) * (gap > 0.02), TEETH)
    bared = max(low, stretch)
    face.paint(hole * face.cover(face.y - line - lower + np.minimum(0.055, 0.4 * gap)) * bared, TEETH * 0.93)
    seam = face.stroke(np.abs(face.x), line, -1, half + 0.02, 0.013 + 0.006 * tight)
    face.paint(seam * (gap < 0.03), DARK)
    _around_the_mouth(face, person, units, half, 0.57 + 0.6 * corner)


def _around_the_mouth(face: _Region, person: Person, units: ActionUnits, half: float, corner: float) -> None:
    """Dimples, the folds of lowered corners, the bulges of pressed lips and the shadow on the chin."""
    side = np.abs(face.x)
    chin = 0.76 + 0.22 * units.jaw_drop + 0.06 * units.lower_lip_depressor
    face.shade(face.stroke(side, chin - 0.2 * side * side, -1, 0.15, 0.02), 0.86)
    if units.lip_corner_puller > 0:
        dimple = face.ellipse(side - half - 0.02, corner, 0.025, 0.04)
        face.shade(dimple * units.lip_corner_puller, 0.6)
    if units.lip_corner_depressor > 0:
        fold = face.cover(0.014 - np.abs(side - half - 0.03 - 0.2 * (face.y - corner)))
        fold = fold * face.cover(face.y - corner) * face.cover(corner + 0.17 - face.y)
        face.shade(fold * units.lip_corner_depressor, 1 - 0.5 * person.wrinkles)
    if units.lip_tightener > 0:
        pressed = face.stroke(side, 0.48 + 0.2 * side, -1, half, 0.014)
        pressed = np.maximum(pressed, face.stroke(side, 0.67 - 0.2 * side, -1, half, 0.014))
        face.shade(pressed * units.lip_tightener, 1 - 0.35 * person.wrinkles)


def _eyes(face: _Region, person: Person, pose: Pose, units: ActionUnits) -> None:
    level, wide = -0.10, person.eye_width
    across = (np.abs(face.x) - person.eye_gap) / wide
    arc = np.clip(1 - across * across, 0, 1) ** np.float32(0.75)
    sad = units.inner_brow_raiser * (1 - units.outer_brow_raiser)
    rise = person.eye_height * (1 + 0.55 * units.upper_lid_raiser - 0.25 * units.lid_tightener)
    rise -= person.eye_height * (
        0.2 * units.cheek_raiser
        + 0.25 * units.nose_wrinkler
        + 0.12 * units.brow_lowerer * (1 - units.inner_brow_raiser)
    )
    fall = person.eye_height * (0.65 - 0.55 * units.lid_tightener - 0.95 * units.cheek_raiser)
    fall -= person.eye_height * 0.35 * units.nose_wrinkler
    lower = level + fall * arc + person.slant * across
    upper = level - rise * arc + (person.slant + 0.035 * sad) * across
    upper = upper + pose.blink * np.maximum(lower - upper - 0.005, 0)
    within = face.cover((1 - np.abs(across)) * wide)
    ball = face.cover(face.y - upper) * face.cover(lower - face.y) * within
    face.paint(ball, (0.97, 0.97, 0.95))
    centre = across * wide - 0.05 * pose.gaze * np.sign(face.x)
    radius = person.iris
    face.paint(ball * face.ellipse(centre, level - 0.01, radius, radius), person.eye_colour)
    face.paint(ball * face.ellipse(centre, level - 0.01, radius * 0.52, radius * 0.52), DARK)
    glint = face.ellipse(centre - 0.03 * np.sign(face.x), level - 0.045, 0.022, 0.022)
    face.paint(ball * glint, (1.0, 1.0, 1.0))
    face.paint(face.cover(person.lashes - np.abs(face.y - upper)) * within, DARK)
    face.shade(face.cover(0.010 - np.abs(face.y - lower)) * within, 0.55)
    crease = face.cover(0.010 - np.abs(face.y - upper + 0.05)) * within
    face.shade(crease * (1 - 0.6 * units.upper_lid_raiser), 0.72)
    if units.lid_tightener > 0:
        bag = face.cover(0.012 - np.abs(face.y - lower - 0.045)) * within
        face.shade(bag * units.lid_tightener, 1 - 0.4 * person.wrinkles)


def _brows(face: _Region, person: Person, units: ActionUnits) -> None:
    side = np.abs(face.x)
    lowered = units.brow_lowerer
    start = 0.13 - 0.055 * lowered
    t = np.clip((side - start) / (0.54 - start), 0, 1)
    curve = person.brow_height - person.brow_arch * (1 - (2 * t - 1.15) ** 2)
    curve = curve - 0.17 * units.inner_brow_raiser * (1 - t) ** np.float32(1.3)
    curve = curve - 0.16 * units.outer_brow_raiser * t ** np.float32(0.6)
    # A brow that is drawn down and up at once goes up and together, as in fear and sadness.
    curve = (
        curve
        + lowered * (0.15 - 0.10 * t) * (1 - 1.4 * units.inner_brow_raiser)
        + 0.07 * units.nose_wrinkler * (1 - 0.6 * t)
    )
    thickness = person.brow_width * (1 - 0.45 * t)
    hairs = face.stroke(side, curve, start, 0.54, thickness.astype(np.float32))
    face.paint(hairs, person.brow_colour)
    if lowered > 0:
        furrow = face.cover(0.013 - np.abs(side - 0.05)) * face.cover(face.y + 0.46) * face.cover(-0.25 - face.y)
        face.shade(furrow * lowered, 1 - 0.6 * person.wrinkles)


def _beard(face: _Region, person: Person, jaw: float) -> None:
    if not person.beard:
        return
    hairs = face.cover(face.y - 0.48 + 0.55 * np.clip(np.abs(face.x) - 0.2, 0, None))
    hairs = hairs * (1 - face.ellipse(face.x, 0.55, 0.36, 0.21)) * face.cover(_outline(face, person, jaw, grow=0.01))
    if person.moustache:
        hairs = np.maximum(hairs, face.ellipse(face.x, 0.44, 0.27, 0.07) * face.cover(np.abs(face.x) - 0.015))
    face.paint(hairs * person.beard, person.hair)


def _hair(page: _Region, person: Person) -> None:
    if person.bald:
        return
    volume = page.cover(_outline(page, person, 0.0, grow=person.hair_volume))
    side = np.clip(np.abs(page.x) / person.width, 0, 1.2)
    wave = 0.03 * np.sin(page.x * person.curl) if person.curl else np.float32(0)
    edge = person.hairline + person.parting * page.x + (person.sides - person.hairline) * side**4 + wave
    page.paint(volume * page.cover(edge - page.y), person.hair)
    shine = np.exp(-(((page.y + 0.82) / 0.07) ** 2) - ((page.x + 0.25) / 0.3) ** 2).astype(np.float32)
    page.paint(volume * shine * 0.25 * page.cover(edge - page.y), (1.0, 1.0, 1.0))


def _glasses(face: _Region, person: Person) -> None:
    if not person.glasses:
        return
    side = np.abs(face.x)
    q = ((np.abs(side - person.eye_gap) / 0.25) ** 4 + (np.abs(face.y + 0.09) / 0.2) ** 4) ** 0.25
    rim = face.cover(0.018 - np.abs(q - 1) * 0.2)
    bridge = face.stroke(side, np.float32(-0.14) + 0 * side, -1, person.eye_gap - 0.24, 0.016)
    face.paint(np.maximum(rim, bridge), person.frame_colour)
