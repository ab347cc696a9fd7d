"""The features that action units move: forehead, cheeks, nose, mouth, eyes and brows.

Faces are symmetric, so most shapes are written for ``|x|``. The numbers are lengths in head units, found by looking.
"""

import numpy as np

from peclip.demo.face.canvas import Region
from peclip.demo.face.people import ActionUnits, Person, Pose

DARK = (0.10, 0.05, 0.05)
TEETH = (0.95, 0.94, 0.90)
LOWER_TEETH = (0.88, 0.87, 0.84)
MOUTH = (0.30, 0.06, 0.08)
TONGUE = (0.80, 0.36, 0.38)


def forehead_and_cheeks(face: Region, person: Person, units: ActionUnits) -> None:
    """Draw wrinkles of raised brows, the bulge of raised cheeks, and the folds beside the nose."""
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


def nose(face: Region, person: Person, units: ActionUnits) -> None:
    """Draw bridge, tip, nostrils and wings, and the wrinkles of a nose that is pulled up."""
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


def mouth(face: Region, person: Person, pose: Pose, units: ActionUnits) -> None:
    """Draw lips around a line from corner to corner, and teeth and tongue where they part."""
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
    face.paint(hole * face.cover(face.y - line - lower + np.minimum(0.055, 0.4 * gap)) * bared, LOWER_TEETH)
    seam = face.stroke(np.abs(face.x), line, -1, half + 0.02, 0.013 + 0.006 * tight)
    face.paint(seam * (gap < 0.03), DARK)
    _around_the_mouth(face, person, units, half, 0.57 + 0.6 * corner)


def _around_the_mouth(face: Region, person: Person, units: ActionUnits, half: float, corner: float) -> None:
    """Draw dimples, the folds of lowered corners, the bulges of pressed lips and the shadow on the chin."""
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


def eyes(face: Region, person: Person, pose: Pose, units: ActionUnits) -> None:
    """Draw eyeballs between two lids; the lids open, narrow and blink."""
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


def brows(face: Region, person: Person, units: ActionUnits) -> None:
    """Brows whose inner and outer ends move apart from each other, and the furrow between them."""
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
