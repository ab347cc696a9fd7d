"""Cartoon faces drawn from action units: numpy shapes with soft edges, no images, no fonts, no state."""

from peclip.data.drawn_face.artist import Artist
from peclip.data.drawn_face.expression import ActionUnits, Pose
from peclip.data.drawn_face.people import Person, Scene, random_person, random_scene

__all__ = ("ActionUnits", "Artist", "Person", "Pose", "Scene", "random_person", "random_scene")
