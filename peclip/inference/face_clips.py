"""Crop the faces of a data set: a clip of each clip's longest track, with the crops that recognition feeds to a model.

Each clip becomes one small video, complete or absent, so an interrupted run resumes where it was. The manifest comes last.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from queue import SimpleQueue

import av
import numpy as np
import pandas as pd
from einops import rearrange
from rich.progress import Progress

from peclip.data.contents import FACES_NOTE, FIND_UNREADABLE, CropsState, contents_digest
from peclip.data.manifest import Clip, Manifest
from peclip.data.media.clip import clip_frames
from peclip.data.media.clock import TICK
from peclip.data.subjects import with_videos
from peclip.errors import InputError, in_one_line
from peclip.files import as_cell, atomic_write, check_folder, file_errors, is_temporary, locked, write_bytes, write_json
from peclip.inference.crops import FoundFaces, cut_out, longest_track
from peclip.inference.faces import Detector, YuNet

MANIFEST, WITHOUT, CROPS = "manifest.csv", "without_face.csv", "crops"

SMALLEST, LARGEST = 16, 1024
"""Sides of crops in pixels; videos have even sides."""

NO_FACE = "no face was found"

ADVICE = "; finished crops are as they were. Free some space, then run the same command again"

_QUALITY = {"crf": "12", "preset": "fast"}  # of x264: differences from the crop are below what can be seen
_FOLDER = 1000  # clips in one folder


@dataclass(frozen=True)
class Cropping:
    """Options of cropping.

    Attributes:
        size: side of the crops in pixels, even.
        upright: whether crops are turned so that the eyes are level.
        workers: number of clips that are read at a time.
        skip: whether clips that cannot be read are listed and omitted.
        face_model: ONNX file of YuNet; None for the one on the Hub.
    """

    size: int = 224
    upright: bool = False
    workers: int = 1
    skip: bool = False
    face_model: str | None = None

    def __post_init__(self) -> None:
        if not SMALLEST <= self.size <= LARGEST or self.size % 2:
            raise InputError(f"size is {self.size}, expected an even number from {SMALLEST} to {LARGEST}", "size")
        if not 1 <= self.workers <= 1024:
            raise InputError(f"workers is {self.workers}, expected 1 to 1024", "workers")


@dataclass(frozen=True)
class Cropped:
    """Result of cropping.

    Attributes:
        manifest: manifest of the crops.
        without: number of clips in which no face was found.
        unreadable: number of clips that could not be read.
    """

    manifest: Manifest
    without: int
    unreadable: int


def crop_faces(manifest: Manifest, out: Path, cropping: Cropping, progress: Progress | None = None) -> Cropped:
    """Crop the faces of all clips of a manifest, or resume an interrupted run.

    Args:
        manifest: the clips.
        out: folder of the crops and of their manifest.
        cropping: the settings.
        progress: progress bars to which one is added; None to show nothing.

    Raises:
        InputError: a clip cannot be read, the folder cannot be written to, another run is writing there, or it holds other
            crops.
    """
    check_folder(out)
    detectors: SimpleQueue[Detector] = SimpleQueue()
    for _ in range(cropping.workers):  # one holds the frame that it looks at
        detectors.put(YuNet(cropping.face_model))
    with file_errors():
        out.mkdir(parents=True, exist_ok=True)
    with locked(out, busy=f"{out}: another peclip faces is writing there: wait for it"):
        _check_folder(out, CropsState(contents_digest(manifest), cropping.size, cropping.upright))
        targets = [_target(out, number, manifest.clip(number)) for number in range(len(manifest))]
        without = {number: why for number, why in _read_without(out).items() if why == NO_FACE}
        left = [number for number, target in enumerate(targets) if number not in without and not target.exists()]
        done = len(targets) - len(left)
        task = progress.add_task("cropping faces", total=len(targets), completed=done) if progress else None
        for number, why in _crop(manifest, left, targets, cropping, detectors):
            if why is not None:
                without[number] = why
                _write_without(out, manifest, without)
            if progress is not None and task is not None:
                progress.advance(task)
        kept = [number for number in range(len(targets)) if number not in without]
        crops = _write_manifest(manifest, out, kept, targets)
    found = sum(why == NO_FACE for why in without.values())
    return Cropped(crops, found, len(without) - found)


def write_crops(path: Path, crops: Iterator[tuple[float, np.ndarray]], size: int) -> None:
    """Write crops, each its time in seconds and uint8 (S, S, 3) RGB, as a video; if that fails, nothing is left."""
    with atomic_write(path, ADVICE) as temporary, av.open(str(temporary), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options=_QUALITY)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TICK
        stream.codec_context.thread_count = 1
        first, last = None, -1
        for seconds, crop in crops:
            first = seconds if first is None else first
            frame = av.VideoFrame.from_ndarray(crop, format="rgb24")
            frame.pts = last = max(round((seconds - first) / TICK), last + 1)
            frame.time_base = TICK
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _crop(
    manifest: Manifest,
    left: Sequence[int],
    targets: Sequence[Path],
    cropping: Cropping,
    detectors: SimpleQueue[Detector],
) -> Iterator[tuple[int, str | None]]:
    """Yield the number of each clip that is finished, and the reason why it has no crop; None if it has one."""
    waiting: deque[tuple[int, Future[str | None]]] = deque()
    rows = iter(left)
    with ThreadPoolExecutor(cropping.workers) as pool:  # decoder, detector and encoder release Python's lock
        try:
            while True:
                while len(waiting) < 2 * cropping.workers and (row := next(rows, None)) is not None:
                    clip = manifest.clip(row)
                    waiting.append((row, pool.submit(_crop_one, clip, targets[row], cropping, detectors)))
                if not waiting:
                    return
                row, result = waiting.popleft()
                yield row, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _crop_one(clip: Clip, target: Path, cropping: Cropping, detectors: SimpleQueue[Detector]) -> str | None:
    """Write the crops of a clip, which is read twice so that memory holds one frame of it; return the reason if it has none."""
    detect = detectors.get()
    try:
        faces = FoundFaces(cropping.size, detect, cropping.upright)
        squares = longest_track(clip_frames(clip.path, clip.start, clip.end), faces).squares
    except InputError as error:
        if cropping.skip:
            return in_one_line(error)
        raise InputError(f"{error} ({clip.where}); {FIND_UNREADABLE}") from error
    finally:
        detectors.put(detect)
    if not squares:
        return NO_FACE
    crops = (
        (seconds, rearrange(cut_out(frame, square, cropping.size, cropping.upright), "c h w -> h w c").numpy())
        for number, (seconds, frame) in enumerate(clip_frames(clip.path, clip.start, clip.end))
        if (square := squares.get(number)) is not None
    )
    write_crops(target, crops, cropping.size)
    return None


def _check_folder(out: Path, state: CropsState) -> None:
    """Check that a folder is new or was begun with the same settings, and remove what a killed run left incomplete.

    Raises:
        InputError: it holds other crops or other files.
    """
    before = CropsState.read(out)
    if before is None:
        if any(path.name != ".lock" for path in out.iterdir()):
            raise InputError(f"out {out}: holds other files than crops of faces: name a new folder", "out")
        write_json(out / FACES_NOTE, asdict(state))
        return
    if before != state:
        raise InputError(f"out {out}: was begun with {before.difference(state)}: name another folder", "out")
    for draft in out.rglob(".*"):
        if is_temporary(draft):
            draft.unlink(missing_ok=True)


def _target(out: Path, number: int, clip: Clip) -> Path:
    """Return the path of the crops of a clip: its number, and its name for people."""
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in Path(clip.path).stem)[:100]
    return out / CROPS / f"{number // _FOLDER:03d}" / f"{number:06d}-{stem}.mp4"


def _read_without(out: Path) -> dict[int, str]:
    """Return the listed clips without crops: the reason by the number of the clip."""
    try:
        with (out / WITHOUT).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return {int(row["clip"]): row["why"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{out / WITHOUT}: is not what peclip faces writes: remove it") from error


def _write_without(out: Path, manifest: Manifest, without: dict[int, str]) -> None:
    text = StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["clip", "path", "why"])
    for number, why in sorted(without.items()):
        rows.writerow([number, as_cell(str(manifest.table["path"].iat[number])), why])
    write_bytes(out / WITHOUT, text.getvalue().encode("utf-8", "surrogateescape"))


def _write_manifest(manifest: Manifest, out: Path, kept: Sequence[int], targets: Sequence[Path]) -> Manifest:
    subjects = with_videos(manifest)
    table: pd.DataFrame = manifest.table[manifest.facts].assign(subject=subjects).iloc[list(kept)]
    paths = [str(targets[number].relative_to(out)) for number in kept]
    crops = Manifest(table.assign(path=paths), source=out / MANIFEST, root=out, notes=manifest.notes)
    crops.write(out / MANIFEST)
    return crops
