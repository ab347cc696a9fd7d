"""Compare the tracker of peclip with ByteTrack (supervision), norfair and motpy on films of which is known who is where.

python benchmarks/trackers.py FACE_MODEL [--takes 3] [--first 0]

All get the same boxes, those of YuNet, and settings that mean the same: a face that is lost is remembered for as long as peclip does, and is
a track when it has been found in three frames. A film shows synthetic people who stand, walk, cross, are hidden or are cut to.

- switches: frames at which a person, who is in sight, gets another number than in the frame before
- mixed: tracks that show two people or more, each for three frames at least
- fragments: tracks that a person in one shot has beyond the first
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from peclip.demo.face import ActionUnits, Artist, Pose, random_person, random_scene
from peclip.inference.faces import YuNet
from peclip.inference.tracks import GAP, Track, Tracker

try:
    import motpy
    import norfair
    import supervision
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install 'supervision<0.27' norfair motpy") from error

FPS, WIDTH, HEIGHT, SIDE = 25, 480, 270, 110
NEEDED = 3  # frames in which a face is found before it is a track
LOST = round(GAP * FPS)  # frames for which a track survives without its face

Follow = Callable[[int, np.ndarray, np.ndarray], list[Hashable | None]]
"""Callable that accepts the number of a frame, the frame and its boxes (N, 5), and returns the track of each."""


@dataclass(frozen=True)
class Visit:
    """A person in one shot: from left edge to left edge of the portrait, and perhaps back, in some frames."""

    who: int
    left: float
    right: float
    frames: range
    top: int = 90
    turns_back: bool = False


def scenes(first: int) -> Iterator[tuple[str, int, list[Visit], bool]]:
    """Yield the name of each scene, its frames, its visits, and whether there is a pillar; people are numbered from `first` on."""
    a, b, c = first, first + 1, first + 2
    whole = range(100)
    yield "stand", 100, [Visit(a, 40, 40, whole), Visit(b, 180, 180, whole), Visit(c, 330, 330, whole)], False
    yield "walk", 50, [Visit(a, 0, 360, range(50)), Visit(b, 360, 300, range(50), 20)], False
    yield "cross", 100, [Visit(a, 0, 360, whole), Visit(b, 360, 0, whole)], False
    yield "hidden", 100, [Visit(a, 60, 330, whole), Visit(b, 10, 10, whole, 20)], True
    shots = [Visit((a, b)[number % 2], 180, 180, range(25 * number, 25 * number + 25)) for number in range(4)]
    yield "cuts, same place", 100, shots, False
    pairs = [
        Visit((a, b, c)[(number + place) % 3], left, left, range(25 * number, 25 * number + 25))
        for number in range(4)
        for place, left in enumerate((70, 270))
    ]
    yield "cuts, two people", 100, pairs, False
    yield "leave, another comes", 100, [Visit(a, 180, 180, range(45)), Visit(b, 180, 180, range(55, 100))], False
    rng = np.random.default_rng(first)
    crowd = [Visit(who, *rng.permutation([rng.integers(0, 120), rng.integers(240, 360)]), whole) for who in (a, b, c)]
    yield "three cross", 100, [replace(visit, top=int(rng.integers(40, 130))) for visit in crowd], False
    into = Visit(a, rng.integers(20, 100), 210, range(50), int(rng.integers(20, 140)))
    yield "turn back behind a pillar", 100, [replace(into, frames=whole, turns_back=True)], True
    out = Visit(b, 210, rng.integers(320, 360), range(50, 100), into.top)
    yield "another comes out", 100, [into, out], True


def film(visits: Sequence[Visit], frames: int, has_pillar: bool) -> Iterator[tuple[np.ndarray, dict[int, np.ndarray]]]:
    """Yield each frame, uint8 (H, W, 3), and the centre of the face of each visit, by its place; later visits are in front."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    room = np.stack([150 + 25 * np.sin(x / 17) * np.sin(y / 23)] * 3, axis=2).astype(np.uint8)
    for frame in range(frames):
        picture, places = room.copy(), {}
        for number, visit in enumerate(visits):
            if frame in visit.frames:
                share = (frame - visit.frames.start) / max(len(visit.frames) - 1, 1)
                share = 1 - abs(1 - 2 * share) if visit.turns_back else share
                left = round(visit.left + share * (visit.right - visit.left))
                picture[visit.top : visit.top + SIDE, left : left + SIDE] = portrait(visit.who, frame)
                places[number] = np.array([left + 0.5 * SIDE, visit.top + 0.56 * SIDE])
        if has_pillar:
            picture[:, 230:300] = (90, 70, 60)
        yield picture, places


@cache
def artist(who: int) -> Artist:
    """Return who draws a person."""
    return Artist(random_person(np.random.default_rng(who)), random_scene(np.random.default_rng(who)), SIDE)


def portrait(who: int, frame: int) -> np.ndarray:
    """Return a person at a moment: the head sways, and the mouth speaks."""
    seconds = frame / FPS
    pose = Pose(x=0.02 * np.sin(3 * seconds), roll=0.04 * np.sin(2 * seconds), talk=0.5 + 0.5 * np.sin(20 * seconds))
    return artist(who).draw(pose, ActionUnits(lip_corner_puller=0.3))


def peclip_tracker() -> Follow:
    """Return the tracker of peclip."""
    tracker = Tracker(16)

    def follow(number: int, frame: np.ndarray, boxes: np.ndarray) -> list[Hashable | None]:
        tracks: dict[tuple[float, float], Track] = {}
        for track in tracker.update(number / FPS, frame, boxes):
            tracks[tuple(np.round(track.place[:2], 3))] = track
        return [tracks.get(tuple(np.round(each[:2] + each[2:4] / 2, 3))) for each in boxes]

    return follow


def byte_track() -> Follow:
    """Return ByteTrack of supervision."""
    tracker = supervision.ByteTrack(
        lost_track_buffer=round(30 * GAP), frame_rate=FPS, minimum_consecutive_frames=NEEDED
    )  # 30: a second at any rate

    def follow(number: int, frame: np.ndarray, boxes: np.ndarray) -> list[Hashable | None]:
        found = supervision.Detections(
            xyxy=corners(boxes),
            confidence=boxes[:, 4],
            class_id=np.zeros(len(boxes), int),
            data={"n": np.arange(len(boxes))},
        )
        tracked = tracker.update_with_detections(found)
        numbers = dict(zip(tracked.data.get("n", []), tracked.tracker_id, strict=True)) if len(tracked) else {}
        return [int(numbers[n]) if n in numbers and numbers[n] >= 0 else None for n in range(len(boxes))]

    return follow


def norfair_tracker() -> Follow:
    """Return norfair's tracker, with the distance that it recommends for boxes."""
    tracker = norfair.Tracker("iou", 0.7, hit_counter_max=LOST, initialization_delay=NEEDED - 1)

    def follow(number: int, frame: np.ndarray, boxes: np.ndarray) -> list[Hashable | None]:
        found = [
            norfair.Detection(each.reshape(2, 2), scores=np.full(2, 0.9), data=n)
            for n, each in enumerate(corners(boxes))
        ]
        current = {id(detection): detection.data for detection in found}
        numbers = {
            current[id(each.last_detection)]: each.id
            for each in tracker.update(found)
            if each.last_detection is not None and id(each.last_detection) in current
        }
        return [numbers.get(n) for n in range(len(boxes))]

    return follow


def motpy_tracker() -> Follow:
    """Return motpy's tracker."""
    tracker = motpy.MultiObjectTracker(dt=1 / FPS, tracker_kwargs={"max_staleness": LOST})

    def follow(number: int, frame: np.ndarray, boxes: np.ndarray) -> list[Hashable | None]:
        sides = corners(boxes)
        tracker.step([motpy.Detection(box=each, score=0.9) for each in sides])
        tracks = tracker.active_tracks(max_staleness_to_positive_ratio=LOST, max_staleness=1, min_steps_alive=NEEDED)
        answers: list[Hashable | None] = [None] * len(boxes)
        pairs = sorted(
            ((overlap(each, track.box), n, track.id) for n, each in enumerate(sides) for track in tracks), reverse=True
        )
        for value, n, track in pairs:
            if value > 0.3 and answers[n] is None and track not in answers:
                answers[n] = track
        return answers

    return follow


TRACKERS = {
    "peclip": peclip_tracker,
    "ByteTrack (supervision)": byte_track,
    "norfair": norfair_tracker,
    "motpy": motpy_tracker,
}


def is_unconfirmed(track: Hashable | None) -> bool:
    """Return whether a track of peclip never got a number; one that did has it from its first frame on."""
    return isinstance(track, Track) and track.number is None


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom of boxes (N, 4)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = max(width, 0) * max(height, 0)
    return float(shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared))


def judge(
    frames: list[tuple[np.ndarray, dict[int, np.ndarray]]], visits: Sequence[Visit], tracks: list[list[Hashable | None]]
) -> Counter:
    """Count switches, mixed tracks and fragments, given boxes and known places of each frame, and the tracks of the boxes."""
    by_visit, by_track = defaultdict(list), defaultdict(Counter)
    for (boxes, places), numbers in zip(frames, tracks, strict=True):
        for each, track in zip(boxes, numbers, strict=True):
            away = {number: np.hypot(*(each[:2] + each[2:4] / 2 - place)) for number, place in places.items()}
            nearest = min(away, key=away.__getitem__, default=None)
            if nearest is not None and away[nearest] < 0.3 * SIDE and track is not None:
                by_visit[nearest].append(track)
                by_track[track][visits[nearest].who] += 1
    found: Counter = Counter(frames=sum(map(len, by_visit.values())))
    for numbers in by_visit.values():
        found["switches"] += sum(one != other for one, other in pairwise(numbers))
        found["fragments"] += sum(count >= NEEDED for count in Counter(numbers).values()) - 1
    found["mixed"] = sum(sum(count >= NEEDED for count in people.values()) > 1 for people in by_track.values())
    return found


def main() -> None:
    """Measure and print a table in markdown's form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face_model", help="the ONNX file of YuNet")
    parser.add_argument("--takes", type=int, default=3, help="of each scene, with other people")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first take; peclip's limits were chosen on takes 0 to 3"
    )
    options = parser.parse_args()
    detect, found = YuNet(options.face_model), defaultdict(Counter)
    for take in range(options.first, options.first + options.takes):
        for scene, length, visits, has_pillar in scenes(10 * take + 1):
            shot = [(frame, detect(frame), places) for frame, places in film(visits, length, has_pillar)]
            for name, make in TRACKERS.items():
                follow = make()
                tracks = [follow(number, frame, boxes) for number, (frame, boxes, _) in enumerate(shot)]
                tracks = [[None if is_unconfirmed(track) else track for track in frame] for frame in tracks]
                found[scene, name] += judge([each[1:] for each in shot], visits, tracks)
                found["all", name] += judge([each[1:] for each in shot], visits, tracks)
    table = Table("scene", *TRACKERS, box=box.MARKDOWN)
    for scene in (*[scene for scene in dict.fromkeys(scene for scene, _ in found) if scene != "all"], "all"):
        cells = [
            " / ".join(str(found[scene, name][kind]) for kind in ("switches", "mixed", "fragments"))
            for name in TRACKERS
        ]
        table.add_row(scene, *cells)
    shares = [
        f"{found['all', name]['frames'] / max(found['all', each]['frames'] for each in TRACKERS):.1%}"
        for name in TRACKERS
    ]
    table.add_row("faces with a number", *shares)
    Console(width=160).print("switches / mixed / fragments", table, sep="\n")


if __name__ == "__main__":
    main()
