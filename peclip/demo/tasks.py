"""Generate the demo data: synthetic faces acting out expressions, as real H.264 files with a manifest.

Everything is a function of the seed, so a demo that is generated again holds the same frames. People of the training clips, of the
test clips and of the stills the demo CLIP was trained on are three disjoint sets of numbers.
"""

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from peclip.class_texts import ACTION_UNITS
from peclip.demo import acting
from peclip.demo.face import ActionUnits, Artist, Person, random_person, random_scene
from peclip.errors import InputError
from peclip.files import temporary_name
from peclip.labels import SEVEN

Film = NDArray[np.uint8]
Kind = Literal["demo", "demo_order"]

FPS = 25
MOST_PROCESSES = 8
"""Processes that generate clips at once, at most: each imports its modules first."""

VERSION = 3
"""Part of the folder's name: raise it when the faces change, so that older clips are not mistaken for new ones."""

TRAIN_PEOPLE = range(5_000)
TEST_PEOPLE = range(5_000, 10_000)
PRETRAINING_PEOPLE = range(10_000, 1_000_000)

ORDER_LABELS = ("smile_appears", "smile_fades")


@dataclass(frozen=True)
class _Plan:
    """A synthetic data set to generate; clips are counted per class."""

    kind: Kind
    train: int
    test: int
    frames: int
    size: int
    seed: int
    labels: tuple[str, ...]

    @property
    def folder(self) -> str:
        numbers = f"{self.train}+{self.test}x{self.frames}x{self.size}-seed{self.seed}"
        some = f"-{'-'.join(self.labels)}" if self.labels not in (SEVEN, ORDER_LABELS) else ""
        return f"{self.kind.replace('_', '-')}-v{VERSION}-{numbers}{some}"


@dataclass(frozen=True)
class _Clip:
    """One row of the manifest, and the number that decides person, scene and acting."""

    path: str
    label: str
    split: str
    take: int


def generate(name: str, root: Path | str) -> Path:
    """Generate the clips of a task below the root unless they exist, and link ``root/NAME`` to their folder.

    Reading them is then ``data.benchmark: NAME`` with ``data.root: ROOT``, as for any other benchmark.

    Args:
        name: one of :data:`TASKS`.
        root: folder for demo data; made if missing.

    Returns:
        The path of the manifest.

    Raises:
        InputError: the clips cannot be written there.
    """
    root = Path(root)
    link = root / name
    draft = temporary_name(link)
    own = f"{name.replace('_', '-')}-v"
    if os.path.lexists(link) and not (link.is_symlink() and os.readlink(link).startswith(own)):
        raise InputError(
            f"{link}: is not what peclip has made, and the demo would replace it: choose another root", "root"
        )
    manifest = TASKS[name](root)
    try:
        if not link.is_symlink() or os.readlink(link) != manifest.parent.name:
            draft.symlink_to(manifest.parent.name, target_is_directory=True)
            draft.replace(link)
    except OSError as error:
        raise InputError(f"{link}: cannot be written ({error.strerror}): choose another root", "root") from error
    finally:
        draft.unlink(missing_ok=True)
    return link / manifest.name


def demo(
    root: Path,
    train: int = 120,
    test: int = 40,
    frames: int = 16,
    size: int = 96,
    seed: int = 0,
    labels: Sequence[str] = SEVEN,
) -> Path:
    """Generate the demo below the root unless it exists, and return its manifest: clips labelled with the expression at their end.

    Every clip goes from one expression to another in its middle third, and the label is the latter. Both are about as long,
    so that the mean of the frames tells which two expressions occur, and only their order which of them is the label.

    Args:
        root: folder for demo data; made if missing.
        train: training clips per class.
        test: test clips per class, of other people than the training clips.
        frames: frames per clip, at 25 frames a second.
        size: height and width in pixels, even.
        seed: another seed makes other clips.
        labels: two or more of the seven expressions, from which and to which the faces go.

    Returns:
        The path of ``manifest.csv`` (columns path, label, split, subject).

    Raises:
        InputError: the clips cannot be written there, or the labels are not two or more of the seven.
    """
    if len({*labels} & {*SEVEN}) != len(labels) or len(labels) < 2:
        raise InputError(
            f"labels: expected two or more of {', '.join(SEVEN)}, got {', '.join(labels) or 'none'}", "labels"
        )
    return _make(root, _Plan("demo", train, test, frames, size, seed, tuple(labels)))


def demo_order(root: Path, train: int = 100, test: int = 40, frames: int = 24, size: int = 96, seed: int = 0) -> Path:
    """Generate the order demo below the root unless it exists, and return its manifest.

    A smile appears or fades: clip i of one class is the exact reversal of clip i of the other, frame by frame, so only
    the direction of time distinguishes them. Sampling the middle of T segments keeps that symmetry where frames / T is an
    odd whole number, as with the default of 24 frames and T = 8. Arguments, result and errors are those of :func:`demo`.
    """
    return _make(root, _Plan("demo_order", train, test, frames, size, seed, ORDER_LABELS))


TASKS = {"demo": demo, "demo_order": demo_order}
"""The function that generates the clips of each task."""


def person(number: int) -> Person:
    """Return the person of that number; the same for every data set and seed."""
    return random_person(np.random.default_rng((number, 1)))


def write_video(path: Path, film: Film, lossless: bool = False) -> None:
    """Write frames, uint8 (N, H, W, 3) in RGB with even H and W, as an H.264 mp4 file of 25 frames a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = film.shape[1], film.shape[2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, FPS)
        # Without mbtree, which makes x264's files differ from run to run.
        quality = {"qp": "0"} if lossless else {"crf": "16", "x264-params": "mbtree=0"}
        stream.options = {"preset": "ultrafast" if lossless else "veryfast", **quality}
        stream.thread_count = 1
        for number, picture in enumerate(film):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _make(root: Path, plan: _Plan) -> Path:
    """Fill a temporary folder and rename it, so that the final one is complete or absent."""
    done = root / plan.folder
    if not done.exists():
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{plan.folder}-", dir=root) as draft:
                _fill(Path(draft) / "clips", plan)
                (Path(draft) / "clips").rename(done)
        except OSError as error:
            # Another process may have been faster; its clips are the same.
            if not done.exists():
                raise InputError(
                    f"{root}: cannot write the demo clips there ({error}): choose another folder"
                ) from error
    return done / "manifest.csv"


def _fill(folder: Path, plan: _Plan) -> None:
    """Write all clips, shared among as many processes as there are cores, and the manifest."""
    clips = list(_clips(plan))
    for parent in {(folder / clip.path).parent for clip in clips}:
        parent.mkdir(parents=True)
    processes = max(1, min(os.cpu_count() or 1, MOST_PROCESSES, len(clips)))
    with ExitStack() as stack:
        helpers = [stack.enter_context(_helper(folder, plan, first, processes)) for first in range(1, processes)]
        for helper in helpers:
            stack.callback(helper.kill)
        for clip in clips[0::processes]:
            _shoot(folder, plan, clip)
        errors = [helper.communicate()[1] for helper in helpers]
    for helper, error in zip(helpers, errors, strict=True):
        if helper.returncode:
            raise RuntimeError(f"generating the demo clips failed: {error.decode().strip()}")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "split", "subject"))
        writer.writerows((clip.path, clip.label, clip.split, _subject(plan, clip)) for clip in clips)


def _helper(folder: Path, plan: _Plan, first: int, processes: int) -> subprocess.Popen[bytes]:
    """Start a process that writes its share of the clips."""
    # A fresh interpreter rather than multiprocessing: it neither forks a process that has threads nor runs the
    # caller's main module a second time.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _share; _share(*sys.argv[1:])"
    numbers = (first, processes, *(getattr(plan, name) for name in ("train", "test", "frames", "size", "seed")))
    options = [str(folder), plan.kind, *map(str, numbers), *plan.labels]
    return subprocess.Popen([sys.executable, "-c", code, *options], stderr=subprocess.PIPE)


def _share(folder: str, kind: Kind, *rest: str) -> None:
    """Write the share of a process that :func:`_helper` has started; the arguments are those that it passes."""
    first, processes, train, test, frames, size, seed = map(int, rest[:7])
    plan = _Plan(kind, train, test, frames, size, seed, labels=rest[7:])
    for clip in list(_clips(plan))[first::processes]:
        _shoot(Path(folder), plan, clip)


def _clips(plan: _Plan) -> Iterator[_Clip]:
    """Yield the clips of a plan: in each split, every person acts every class once."""
    for split, count in (("train", plan.train), ("test", plan.test)):
        for label in plan.labels:
            for take in range(count):
                yield _Clip(f"{split}/{label}/{take:03d}.mp4", label, split, take)


def _subject(plan: _Plan, clip: _Clip) -> int:
    """Return the number of the person in a clip."""
    people = TRAIN_PEOPLE if clip.split == "train" else TEST_PEOPLE
    return people[(plan.seed * 1_000 + clip.take) % len(people)]


def _shoot(folder: Path, plan: _Plan, clip: _Clip) -> None:
    who = _subject(plan, clip)
    if plan.kind == "demo":
        rng = np.random.default_rng((plan.seed, who, SEVEN.index(clip.label)))
        before = str(rng.choice([label for label in plan.labels if label != clip.label]))
        units = acting.change(rng, ACTION_UNITS[before], ACTION_UNITS[clip.label], acting.turns(rng, plan.frames))
        film = _film(rng, who, units, plan.size)
    else:
        # Both classes start from the same random numbers: the second is the first played backwards.
        rng = np.random.default_rng((plan.seed, who, len(SEVEN)))
        units = acting.expression(rng, ACTION_UNITS["happiness"], acting.comes(rng, plan.frames))
        film = _film(rng, who, units, plan.size)
        film = film[::-1] if clip.label == "smile_fades" else film
    write_video(folder / clip.path, film, lossless=plan.kind == "demo_order")


def _film(rng: np.random.Generator, who: int, units: Sequence[ActionUnits], size: int) -> Film:
    """Draw a clip, uint8 (N, size, size, 3)."""
    artist = Artist(person(who), random_scene(rng), size)
    poses = acting.movement(rng, len(units))
    return np.stack([artist.draw(pose, unit) for pose, unit in zip(poses, units, strict=True)])
