"""The state of a face at one moment: its action units, and incidental movements."""

from dataclasses import dataclass


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
