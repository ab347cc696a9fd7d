"""People, scenes and expressions: what a picture of a face shows. Random ones are functions of a random generator alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SKINS = ((0.99, 0.86, 0.76), (0.95, 0.78, 0.65), (0.87, 0.67, 0.51), (0.73, 0.52, 0.37), (0.55, 0.37, 0.26))
HAIRS = (
    (0.10, 0.08, 0.08),
    (0.24, 0.15, 0.10),
    (0.42, 0.26, 0.15),
    (0.82, 0.66, 0.36),
    (0.66, 0.30, 0.14),
    (0.70, 0.69, 0.67),
)
EYES = ((0.28, 0.17, 0.09), (0.40, 0.27, 0.13), (0.25, 0.45, 0.65), (0.30, 0.48, 0.30), (0.42, 0.45, 0.48))


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
    """Place of the head, and incidental movements.

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


@dataclass(frozen=True)
class Person:
    """The looks of one person: lengths in head units, colours as RGB in [0, 1]."""

    skin: Array
    hair: Array
    brow_colour: Array
    eye_colour: Array
    lip_colour: Array
    clothes: Array
    frame_colour: Array
    width: float
    chin: float
    taper: float
    squareness: float
    eye_gap: float
    eye_width: float
    eye_height: float
    iris: float
    slant: float
    lashes: float
    brow_height: float
    brow_arch: float
    brow_width: float
    nose: float
    mouth: float
    lips: float
    toothy: float
    blush: float
    wrinkles: float
    hair_volume: float
    hairline: float
    parting: float
    sides: float
    curl: float
    beard: float
    moustache: bool
    long_hair: bool
    bald: bool
    glasses: bool


@dataclass(frozen=True)
class Scene:
    """Background, light and exposure of one clip."""

    near: Array
    far: Array
    angle: float
    blobs: NDArray[np.float32]
    light_x: float
    light_y: float
    gain: Array
    falloff: float

    def background(self, x: Array, y: Array) -> Array:
        """Return a soft two-colour gradient with a few blurred spots, float32 (3, H, W)."""
        slope = 0.5 + 0.4 * (x * np.cos(self.angle) + y * np.sin(self.angle))
        near, far = self.near[:, None, None], self.far[:, None, None]
        image = near + slope * (far - near)
        for at_x, at_y, radius, *colour in self.blobs:
            spot = 0.6 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / radius**2)
            image += spot * (np.array(colour)[:, None, None] - image)
        return np.asarray(image, np.float32)

    def light(self, x: Array, y: Array) -> Array:
        """Return the factor of the light on colours: brighter toward the lamp, tinted, exposed; float32 (3, H, W)."""
        toward = 1 + self.falloff * (self.light_x * x + self.light_y * y)
        return np.asarray(toward * self.gain[:, None, None], np.float32)


def random_person(rng: np.random.Generator) -> Person:
    """Choose the looks of a person: skin, hair, proportions and glasses.

    Args:
        rng: generator whose state alone determines the person.
    """
    skin = _between(rng, SKINS)
    hair = np.clip(np.array(HAIRS[rng.integers(len(HAIRS))], np.float32) * rng.uniform(0.8, 1.2), 0, 1)
    masculine = rng.random() < 0.5
    bearded = masculine and rng.random() < 0.35
    wide = rng.uniform(0.66, 0.80)
    lip = skin * np.array((0.86, 0.56, 0.56), np.float32)
    if not masculine and rng.random() < 0.5:
        lip = 0.4 * lip + 0.6 * np.array((0.76, rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.4)), np.float32)
    return Person(
        skin=skin,
        hair=hair.astype(np.float32),
        brow_colour=(hair * rng.uniform(0.45, 0.8)).astype(np.float32),
        eye_colour=np.array(EYES[rng.integers(len(EYES))], np.float32),
        lip_colour=lip.astype(np.float32),
        clothes=rng.uniform(0.1, 0.9, 3).astype(np.float32),
        frame_colour=rng.uniform(0.0, 0.35, 3).astype(np.float32),
        width=wide,
        chin=rng.uniform(0.94, 1.04),
        taper=rng.uniform(0.08, 0.30) * (0.6 if masculine else 1.0),
        squareness=rng.uniform(2.1, 2.6),
        eye_gap=wide * rng.uniform(0.42, 0.47),
        eye_width=rng.uniform(0.16, 0.20),
        eye_height=rng.uniform(0.095, 0.125),
        iris=rng.uniform(0.085, 0.10),
        slant=rng.uniform(-0.025, 0.012),
        lashes=rng.uniform(0.012, 0.018) if masculine else rng.uniform(0.016, 0.026),
        brow_height=rng.uniform(-0.38, -0.32),
        brow_arch=rng.uniform(0.01, 0.06),
        brow_width=rng.uniform(0.035, 0.055) if masculine else rng.uniform(0.022, 0.038),
        nose=rng.uniform(0.085, 0.13),
        mouth=rng.uniform(0.25, 0.31),
        lips=rng.uniform(0.04, 0.065) if masculine else rng.uniform(0.055, 0.085),
        toothy=rng.uniform(0.0, 1.0),
        blush=rng.uniform(0.05, 0.25),
        wrinkles=rng.uniform(0.5, 1.0),
        hair_volume=rng.uniform(0.04, 0.14),
        hairline=rng.uniform(-0.78, -0.64),
        parting=rng.uniform(-0.2, 0.2),
        sides=rng.uniform(-0.35, 0.1),
        curl=float(rng.choice((0.0, 0.0, 12.0, 20.0))),
        beard=rng.uniform(0.35, 0.9) if bearded else 0.0,
        moustache=bearded and rng.random() < 0.6,
        long_hair=not masculine and rng.random() < 0.75,
        bald=masculine and rng.random() < 0.15,
        glasses=rng.random() < 0.2,
    )


def random_scene(rng: np.random.Generator) -> Scene:
    """Choose the background, light and exposure of a clip.

    Args:
        rng: generator whose state alone determines the scene.
    """
    lamp = rng.uniform(0, 2 * np.pi)
    blobs = np.concatenate(
        (rng.uniform(-1, 1, (4, 2)), rng.uniform(0.15, 0.5, (4, 1)), [_muted(rng) for _ in range(4)]), 1
    )
    exposure = rng.uniform(0.72, 1.1)
    return Scene(
        near=_muted(rng),
        far=_muted(rng),
        angle=rng.uniform(0, 2 * np.pi),
        blobs=blobs.astype(np.float32),
        light_x=float(np.cos(lamp)),
        light_y=float(np.sin(lamp)),
        gain=(exposure * rng.uniform(0.93, 1.07, 3)).astype(np.float32),
        falloff=rng.uniform(0.05, 0.25),
    )


def _between(rng: np.random.Generator, colours: tuple[tuple[float, float, float], ...]) -> Array:
    """Choose a colour between two neighbours of a scale."""
    place = rng.uniform(0, len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    a, b = np.array(colours[low]), np.array(colours[low + 1])
    return np.asarray(a + (place - low) * (b - a), np.float32)


def _muted(rng: np.random.Generator) -> Array:
    """Choose a colour of walls and rooms: any brightness, little saturation."""
    return np.clip(rng.uniform(0.15, 0.9) + rng.uniform(-0.12, 0.12, 3), 0, 1).astype(np.float32)
