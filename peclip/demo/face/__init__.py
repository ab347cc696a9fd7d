"""Synthetic cartoon faces rendered from action units: numpy shapes with soft edges, no images, no fonts, no state."""

from peclip.demo.face.artist import Artist
from peclip.demo.face.people import ActionUnits, Person, Pose, Scene, random_person, random_scene

__all__ = ("ActionUnits", "Artist", "Person", "Pose", "Scene", "random_person", "random_scene")
