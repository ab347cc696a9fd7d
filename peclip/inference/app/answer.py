"""Answer one upload: the rows of its faces, and all files that ``peclip recognize`` writes, as one zip."""

import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from peclip.data.media.stream import FrameStream, TimedFrame
from peclip.errors import InputError, in_one_line
from peclip.files import atomic_write
from peclip.inference.answers import stem_of
from peclip.inference.app.looks import LOOKS, KeptClips, Look, look_at
from peclip.inference.explain.relevance import spread
from peclip.inference.formats import WRITERS
from peclip.inference.join import bring_together
from peclip.inference.persons import Person
from peclip.inference.progress import span
from peclip.inference.recognizer import Recognizer, Row
from peclip.inference.segments import Segment
from peclip.inference.settings import Settings
from peclip.inference.sources import describe, read_frames
from peclip.inference.timeline import Timeline

ARCHIVE = "recognized.zip"

_PICTURES, _CLIPS, _FILES = "pictures", "clips", "files"


@dataclass(frozen=True)
class Answer:
    """The answer about a video.

    Attributes:
        name: name of the video.
        labels: class names.
        caution: sentence about every answer of the model; empty if there is none.
        persons: the persons, in order of their numbers.
        segments: the stretches in which a person shows one expression.
        rows: rows of the persons that are shown, in order of time, with pictures.
        folder: folder of the files, below which the persons name their pictures.
        timeline: path of the picture over time.
        archive: path of the zip of all files.
    """

    name: str
    labels: Sequence[str]
    caution: str
    persons: Sequence[Person]
    segments: Sequence[Segment]
    rows: Sequence[Row]
    folder: Path
    timeline: Path
    archive: Path


@dataclass(frozen=True)
class Recognized:
    """The faces of a video, from which answers are written for any choice of persons.

    Attributes:
        name: name of the video.
        rows: rows of the video, without pictures.
        folder: folder of the pictures, the clips, and the files of the latest answer.
        clips: clips of some rows that have a face, by the place of the row among all rows that have one.
        cost: seconds of computing for each row that has a face.
    """

    name: str
    rows: Sequence[Row]
    folder: Path
    clips: KeptClips
    cost: float

    @property
    def faces(self) -> list[int]:
        """Return the numbers of the faces."""
        return sorted({row.track for row in self.rows if row.track is not None})


class Responder:
    """Answers uploads with one model, and writes an answer again when persons are chosen or merged.

    Args:
        recognizer: the model.
        settings: how videos are recognized.
        longest: longest duration of a video, in seconds.
    """

    def __init__(self, recognizer: Recognizer, settings: Settings, longest: float) -> None:
        self.recognizer, self._settings, self._longest = recognizer, settings, longest
        self._seconds_of_look: float | None = None

    def recognize(self, video: Path, folder: Path, advance: Callable[[float | None, float], None]) -> Recognized:
        """Recognize a video.

        Args:
            video: the upload; its own name is the only one that the results have.
            folder: existing folder for the results.
            advance: function called with the fraction of the video that is done, None if its length is unknown, and the seconds
                that are done.

        Raises:
            InputError: the video is too long or cannot be read, or the disk is full.
        """
        length = describe(str(video)).duration
        if length is not None and length > self._longest:
            raise InputError(f"{video.name} is {span(length)} long: this page accepts {span(self._longest)} at most")
        rows: list[Row] = []
        clips, faces, begun = KeptClips(folder / _CLIPS), 0, time.perf_counter()
        frames = self._within(read_frames(str(video)), video.name)
        try:
            with _kept(video.name), (folder / _PICTURES).open("wb") as pictures:
                for row in self.recognizer.rows(frames, video.name, with_clips=True):
                    if row.track is not None and row.picture is not None and row.clip is not None:
                        pictures.write(row.picture.numpy().tobytes())
                        clips.add(faces, row.track, row.clip)
                        faces += 1
                    rows.append(replace(row, picture=None, clip=None))
                    advance(None if not length else min(row.end / length, 1.0), row.end)
        except InputError as error:  # the name that the visitor gave it, not its place here
            raise InputError(in_one_line(error).replace(str(video), video.name)) from error
        return Recognized(video.name, rows, folder, clips, (time.perf_counter() - begun) / max(faces, 1))

    def look(
        self, found: Recognized, numbers: Mapping[int, int], person: int | None, advance: Callable[[float], None]
    ) -> list[Look]:
        """Return heat maps of some windows of a person, spread over the time for which clips are kept.

        Args:
            found: the faces.
            numbers: number of the person of each face, by the face's number.
            person: number of the chosen person; None if nobody was chosen.
            advance: function called with the fraction of the windows that are done.

        Raises:
            InputError: there is no such person, or none of the kept clips shows it.
        """
        faces = {face for face, number in numbers.items() if number == person}
        rows = [row for row in found.rows if row.track is not None]
        kept = [place for place in found.clips.rows() if rows[place].track in faces]
        if not faces:
            raise InputError("choose a person first")
        if not kept:
            raise InputError(f"no clip of person {person} was kept: the video has too many faces")
        chosen, begun = [kept[place] for place in spread(len(kept), LOOKS)], time.perf_counter()
        looks: list[Look] = []
        for place in chosen:
            advance(len(looks) / len(chosen))
            looks.append(look_at(self.recognizer.net, rows[place], found.clips.clip(place)))
        self._seconds_of_look = (time.perf_counter() - begun) / len(chosen)
        return looks

    def cost_of_look(self, found: Recognized) -> float:
        """Return an estimate of the seconds that :meth:`look` takes: from its last call, or from a pass and its gradient for each window."""
        each = self._seconds_of_look or 3 * found.cost
        return each * min(LOOKS, len(found.clips.rows()))

    def write(self, found: Recognized, numbers: Mapping[int, int] | None = None) -> Answer:
        """Write the files of an answer.

        Args:
            found: the faces.
            numbers: number of the person of each face, by the face's number; faces that it lacks are omitted. By default each
                face is a person.

        Raises:
            InputError: two faces of one person are seen at the same time, or the disk is full.
        """
        numbers = {face: face for face in found.faces} if numbers is None else numbers
        persons_of = [*numbers.values()]
        same = {face: person for face, person in numbers.items() if persons_of.count(person) > 1}
        shown = [row for row in self._with_pictures(found) if row.track is None or row.track in numbers]
        try:
            rows = [*bring_together(shown, same)]
        except InputError as error:  # without the name of recognize's option
            raise InputError(in_one_line(error).removeprefix("same: ")) from error
        out, archive = found.folder / _FILES, found.folder / ARCHIVE
        caution, labels = self.recognizer.caution, self.recognizer.labels
        stem = stem_of(found.name, ())
        with _kept(found.name):
            shutil.rmtree(out, ignore_errors=True)
            with Timeline(out, found.name, stem, labels, self._settings, caution, [*WRITERS], links=False) as timeline:
                for row in rows:
                    timeline.add(row)
            with (
                atomic_write(archive) as complete,  # somebody may download the one before
                zipfile.ZipFile(complete, "w", zipfile.ZIP_DEFLATED) as packed,
            ):
                for path in sorted(path for path in out.rglob("*") if path.is_file()):
                    packed.write(path, path.relative_to(out))
        known = timeline.persons, timeline.segments, rows
        return Answer(found.name, labels, caution, *known, out, out / f"{stem}.png", archive)

    def _with_pictures(self, found: Recognized) -> list[Row]:
        """Return the rows with the pictures of their faces, which stay on disk until they are used."""
        side = self.recognizer.net.image_size
        faces = [row for row in found.rows if row.track is not None]
        if not faces:
            return [*found.rows]
        shape = len(faces), 3, side, side
        pictures = iter(torch.from_numpy(np.memmap(found.folder / _PICTURES, np.uint8, "c", shape=shape)))
        return [row if row.track is None else replace(row, picture=next(pictures)) for row in found.rows]

    def _within(self, frames: FrameStream, name: str) -> FrameStream:
        """Return the frames of a video, and refuse it once it is too long: its container may state no length, or a wrong one."""

        def counted() -> Iterator[TimedFrame]:
            for seconds, pixels in frames:
                if seconds > self._longest:
                    raise InputError(f"{name} is too long: this page accepts {span(self._longest)} at most")
                yield TimedFrame(seconds, seconds if frames.end is None else frames.end, pixels)

        return FrameStream(counted())


@contextmanager
def _kept(name: str) -> Iterator[None]:
    """Turn the error of a full disk into one line for the visitor."""
    try:
        yield
    except OSError as error:
        raise InputError(f"the server cannot keep an answer about {name} ({error.strerror or error})") from error
