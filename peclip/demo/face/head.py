"""The parts of a head that carry no expression: its outline, neck, hair, beard and glasses."""

import numpy as np

from peclip.demo.face.canvas import Array, Region
from peclip.demo.face.people import Person, Scene


def outline(region: Region, person: Person, jaw: float, grow: float = 0.0) -> Array:
    """Return the distance to the edge of the head, positive inside; the jaw moves the chin down."""
    t = np.clip(region.y, 0, None)
    width = (person.width + grow) * (1 - person.taper * t * t)
    height = np.where(region.y < 0, 0.98 + grow, person.chin + jaw + grow).astype(np.float32)
    q = ((np.abs(region.x) / width) ** person.squareness + (np.abs(region.y) / height) ** person.squareness) ** (
        1 / person.squareness
    )
    return (1 - q) * person.width


def behind(page: Region, person: Person) -> None:
    """Draw long hair, shoulders and neck."""
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


def head(page: Region, person: Person, scene: Scene, jaw: float) -> None:
    """Draw ears and the bare head: lighter where it faces the light, darker towards its rim, like a ball."""
    middle = page.crop(1.0, -0.3, 0.3)
    side = np.abs(middle.x) - person.width
    middle.paint(middle.ellipse(side, 0.02, 0.11, 0.19), person.skin * 0.9)
    middle.paint(middle.ellipse(side - 0.02, 0.02, 0.05, 0.11), person.skin * 0.72)
    page = page.crop(0.9, -1.05, 1.3)
    head = page.cover(outline(page, person, jaw))
    page.paint(head, person.skin)
    toward = scene.light_x * page.x / person.width + scene.light_y * page.y
    rim = np.minimum((page.x / person.width) ** 2 * 0.5 + page.y**2 * 0.35, 1)
    page.image *= 1 + head * (0.13 * toward - 0.20 * rim * rim)


def beard(face: Region, person: Person, jaw: float) -> None:
    """Draw a full beard around the mouth, with or without a moustache."""
    if not person.beard:
        return
    hairs = face.cover(face.y - 0.48 + 0.55 * np.clip(np.abs(face.x) - 0.2, 0, None))
    hairs = hairs * (1 - face.ellipse(face.x, 0.55, 0.36, 0.21)) * face.cover(outline(face, person, jaw, grow=0.01))
    if person.moustache:
        hairs = np.maximum(hairs, face.ellipse(face.x, 0.44, 0.27, 0.07) * face.cover(np.abs(face.x) - 0.015))
    face.paint(hairs * person.beard, person.hair)


def hair(page: Region, person: Person) -> None:
    """Draw the hair on top, down to the hairline and the sideburns."""
    if person.bald:
        return
    volume = page.cover(outline(page, person, 0.0, grow=person.hair_volume))
    side = np.clip(np.abs(page.x) / person.width, 0, 1.2)
    wave = 0.03 * np.sin(page.x * person.curl) if person.curl else np.float32(0)
    edge = person.hairline + person.parting * page.x + (person.sides - person.hairline) * side**4 + wave
    page.paint(volume * page.cover(edge - page.y), person.hair)
    shine = np.exp(-(((page.y + 0.82) / 0.07) ** 2) - ((page.x + 0.25) / 0.3) ** 2).astype(np.float32)
    page.paint(volume * shine * 0.25 * page.cover(edge - page.y), (1.0, 1.0, 1.0))


def glasses(face: Region, person: Person) -> None:
    """Draw glasses: two rounded squares and a bridge."""
    if not person.glasses:
        return
    side = np.abs(face.x)
    q = ((np.abs(side - person.eye_gap) / 0.25) ** 4 + (np.abs(face.y + 0.09) / 0.2) ** 4) ** 0.25
    rim = face.cover(0.018 - np.abs(q - 1) * 0.2)
    bridge = face.stroke(side, np.float32(-0.14) + 0 * side, -1, person.eye_gap - 0.24, 0.016)
    face.paint(np.maximum(rim, bridge), person.frame_colour)
