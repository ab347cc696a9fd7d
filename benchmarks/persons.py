"""Measure whether features of faces distinguish people, and from which likeness on two tracks may be brought together.

python benchmarks/persons.py [--face_model YUNET] [--face_features SFACE] [--backbone demo] [--people 60] [--videos FILE ...]

Each synthetic person is in several shots with another light, background, size, expression and movement of the head, as over cuts.
With --videos, the people are those of real videos, each of which shows one person, and its halves are two shots. Two shots are compared as
tracks are: by the mean product of the features of their pictures. Precision is the share of the pairs above a likeness that show one person.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from peclip.class_texts import ACTION_UNITS
from peclip.data.augment import normalize
from peclip.demo import acting
from peclip.demo.face import Artist, random_scene
from peclip.demo.tasks import person
from peclip.inference.crops import cut_out
from peclip.inference.faces import SFace, YuNet
from peclip.inference.join import Features
from peclip.inference.recognizer import Recognizer
from peclip.inference.tracks import Square
from peclip.labels import SEVEN
from peclip.model import PEClip

SHOTS, PICTURES, FRAMES = 4, 4, 50
FIRST = 5_000  # people whom the demo's CLIP has not seen
Shots = list[list[np.ndarray]]


def synthetic(people: int, size: int) -> list[Shots]:
    """Return pictures, uint8 (S, S, 3), by person and shot."""
    return [[shot(FIRST + who, take, size) for take in range(SHOTS)] for who in range(people)]


def shot(who: int, take: int, size: int) -> list[np.ndarray]:
    """Return some pictures of a person in a shot."""
    rng = np.random.default_rng((who, take))
    side = int(rng.integers(90, 220))
    artist = Artist(person(who), random_scene(rng), side)
    text = ACTION_UNITS[SEVEN[int(rng.integers(len(SEVEN)))]]
    poses, units = acting.movement(rng, FRAMES), acting.expression(rng, text, acting.comes(rng, FRAMES))
    square = Square(0.5 * side, 0.56 * side, 1.04 * side)
    times = np.linspace(4, FRAMES - 4, PICTURES).astype(int)
    return [cut_out(artist.draw(poses[t], units[t]), square, size).permute(1, 2, 0).contiguous().numpy() for t in times]


def filmed(videos: Sequence[str], recognizer: Recognizer) -> list[Shots]:
    """Return pictures of the people of videos, one each: its first and its second half are two shots."""
    people = []
    for video in videos:
        rows = [row for row in recognizer(video) if row.track == 1 and row.picture is not None and not row.cautions]
        pictures = [row.picture.permute(1, 2, 0).contiguous().numpy() for row in rows if row.picture is not None]
        half = len(pictures) // 2
        people.append([pictures[:half], pictures[half:]])
    return people


def tower(net: PEClip) -> Features:
    """Return the features of the frozen image tower, without adapters and prompts."""

    def features(picture: np.ndarray) -> np.ndarray:
        video = torch.from_numpy(picture).permute(2, 0, 1)[None, None]
        with torch.inference_mode(), net.bare():
            return net.encode_video(normalize(video, net.clip_format))[0].float().numpy()

    return features


def likenesses(people: list[Shots], features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeness of each pair of shots, and whether it shows one person."""
    looks = []
    for who, shots in enumerate(people):
        for pictures in shots:
            found = [feature for feature in map(features, pictures) if feature is not None]
            if found:
                looks.append((who, np.mean(found, axis=0)))
    pairs = [(float(one @ other), a == b) for (a, one), (b, other) in combinations(looks, 2)]
    values, same = zip(*pairs, strict=True)
    return np.array(values), np.array(same)


def row_of(name: str, values: np.ndarray, same: np.ndarray, threshold: float) -> list[str]:
    """Return a row of the table for a threshold."""
    joined = values > threshold
    precision = f"{same[joined].mean():.3f}" if joined.any() else "-"
    return [name, f"{threshold:.3f}", precision, f"{joined[same].mean():.3f}", f"{same.sum()} / {(~same).sum()}"]


def main() -> None:
    """Measure and print a table in markdown's form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face_model", help="the ONNX file of YuNet; by default that of the Hub")
    parser.add_argument("--face_features", help="the ONNX file of SFace, if it is to be measured")
    parser.add_argument("--backbone", default="demo", help="whose image tower is measured")
    parser.add_argument("--people", type=int, default=60, help="synthetic ones")
    parser.add_argument("--videos", nargs="*", default=[], help="real ones instead, each of one person")
    options = parser.parse_args()
    net = PEClip(SEVEN, options.backbone, adapters={}, prompts=None, num_frames=4).eval()
    measured: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {f"image tower of {options.backbone}": tower(net)}
    yunet = YuNet(options.face_model) if options.face_features or options.videos else None
    if options.face_features and yunet:
        measured["SFace"] = SFace(options.face_features, yunet)
    people = (
        filmed(options.videos, Recognizer(net, yunet, stride=0.5, window=1.0))
        if yunet and options.videos
        else synthetic(options.people, net.image_size)
    )
    table = Table("features", "likeness above", "precision", "recall", "pairs of one / of two people", box=box.MARKDOWN)
    for name, features in measured.items():
        values, same = likenesses(people, features)
        for threshold in (values[~same].max(), *np.quantile(values[~same], (0.999, 0.99))):
            table.add_row(*row_of(name, values, same, float(threshold)))
        if name == "SFace":
            table.add_row(*row_of("SFace, as used", values, same, SFace.THRESHOLD))
    Console(width=120).print(f"{len(people)} people", table, sep="\n")


if __name__ == "__main__":
    main()
