"""A folder of answers about many videos: each is finished or absent, and the same command resumes.

Each video has its own folder below :data:`ANSWERS`, which appears when all its files are written. The tables about
all videos are assembled from these folders at the end of a run. If the run is killed, the next one assembles them.
"""

import errno
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peclip.errors import InputError, shown
from peclip.files import locked, move_folder, write_json
from peclip.inference.lay_out import ADVICE, DONE, TABLES, WRITTEN, check_tables, publish, remove
from peclip.inference.recognizer import Row
from peclip.inference.settings import Options
from peclip.inference.sources import ANSWERS, STDIN, is_live
from peclip.inference.timeline import Timeline
from peclip.results.records import from_json, read_json

OPTIONS = "options.json"

_SWITCHES = ("per_frame", "video")  # options that are noted only if they are true
_LONGEST_STEM = 200  # bytes; a name has 255
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Finished:
    """A video that is finished.

    Attributes:
        file: the video, as the command names it.
        stem: name of its folder, with which its pictures begin.
        size: size of the file in bytes; -1 for a pipe or a camera.
        changed: time of the last change of the file, in nanoseconds since 1970; 0 for a pipe or a camera.
        rows: number of rows of its timeline.
        faces: number of faces in it.
        cautions: seconds for which each caution about single answers holds, summed over the faces.
        not_followed: largest number of faces at a time that are not followed.
    """

    file: str
    stem: str
    size: int
    changed: int
    rows: int
    faces: int
    cautions: dict[str, float]
    not_followed: int


class AnswerFolder:
    """Writes the answers about videos, and knows which are finished.

    Args:
        folder: folder of the answers; it is created.
        labels: class names, in the order of the probabilities.
        caution: sentence about every answer of the model; empty if there is none.
        options: options that the answers depend on; a folder of answers with others is refused.

    Attributes:
        outdated: number of videos that an older version of peclip finished and noted less about; they are read again.

    Raises:
        InputError: nothing can be written there, another run is writing there, or it holds other answers.
    """

    def __init__(self, folder: Path, labels: list[str], caution: str, options: Options) -> None:
        self.finished: dict[str, Finished] = {}
        self.outdated = 0
        self._folder, self._videos, self._options = folder, folder / ANSWERS, options
        self._labels, self._caution = labels, caution
        self._order: dict[str, int] = {}
        self._context, self._has_lock = ExitStack(), False

    def __enter__(self) -> Self:
        check_place(self._folder)
        with self._written():
            self._videos.mkdir(parents=True, exist_ok=True)
        self._context.callback(self._tidy)
        with ExitStack() as opening:
            opening.callback(self._context.close)
            self._context.enter_context(locked(self._folder, f"out {self._folder}: another run is writing there"))
            self._has_lock = True
            self._check_options()
            check_tables(self._folder)
            for draft in self._videos.glob(".peclip-*"):  # of a run that was killed
                shutil.rmtree(draft, ignore_errors=True)
            for note in self._videos.glob(f"*/{DONE}"):
                try:
                    video = from_json(Finished, read_json(note), str(note))
                except InputError:  # what else the answers lack is not known
                    self.outdated += 1
                else:
                    self.finished[video.file] = replace(video, stem=note.parent.name)
            opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._context:
            if self.finished:
                with suppress(*(OSError, InputError) if kind else ()):
                    self._publish()

    def check(self, files: Sequence[str]) -> None:
        """Check that the finished videos are among those of this run, whose order the tables have.

        Raises:
            InputError: one is not.
        """
        if others := [file for file in self.finished if file not in files]:
            raise InputError(
                f"out {self._folder}: holds answers about {shown(others[0])}, which this command does not name: name another "
                "folder"
            )
        self._order = {file: place for place, file in enumerate(files)}

    def has(self, file: str) -> bool:
        """Return whether a video is finished, and has not changed since."""
        video = self.finished.get(file)
        return video is not None and video.size >= 0 and (video.size, video.changed) == _state(file)

    @contextmanager
    def video(self, file: str, beside: Callable[[Path, str], object] | None = None) -> Iterator[Callable[[Row], None]]:
        """Return a function that writes the rows of a video. If the context ends in an error, nothing of it is left.

        Args:
            file: the video.
            beside: function called at the end with the folder of the video and the beginning of its file names, to write
                other files there.

        Raises:
            InputError: they cannot be written.
        """
        taken = [OPTIONS, WRITTEN, *(video.stem for video in self.finished.values() if video.file != file)]
        stem = stem_of(file, taken)
        size, changed = _state(file)
        with self._written():
            temporary = Path(tempfile.mkdtemp(prefix=".peclip-", dir=self._videos))
        try:
            with self._written():
                settings, formats = self._options.settings, self._options.formats
                with Timeline(temporary, file, stem, self._labels, settings, self._caution, formats) as timeline:
                    yield timeline.add
                if beside is not None:
                    beside(temporary, stem)
                counts = timeline.rows, len(timeline.persons), timeline.cautions, timeline.not_followed
                video = Finished(file, stem, size, changed, *counts)
                write_json(temporary / DONE, asdict(video))
                remove(self._folder, self._videos / stem)
                move_folder(temporary, self._videos / stem)
                self.finished[file] = video
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _check_options(self) -> None:
        note = self._videos / OPTIONS
        try:
            before = read_json(note)
        except InputError as error:
            raise InputError(f"{note}: is damaged: name another folder") from error
        if before is None:
            if other := [name for name in TABLES if (self._folder / name).exists()]:
                raise InputError(
                    f"out {self._folder}: holds a {other[0]}, but no note of how it was made: name another folder"
                )
            write_json(note, self._options.to_plain())
            return
        now = json.loads(json.dumps(self._options.to_plain()))
        if other := [name for name in before | now if before.get(name) != now.get(name)]:
            values = ", ".join(f"{name} {_written(name, before)}, not {_written(name, now)}" for name in other)
            raise InputError(f"out {self._folder}: holds answers with {values}: name another folder")

    def _publish(self) -> None:
        videos = sorted(self.finished.values(), key=lambda video: self._order.get(video.file, len(self._order)))
        publish(self._folder, [self._videos / video.stem for video in videos])

    def _tidy(self) -> None:
        """Remove the folder if it has no answers, unless another run is writing there."""
        with suppress(OSError):
            if self._has_lock and not any(path.is_dir() for path in self._videos.iterdir()):
                (self._videos / OPTIONS).unlink(missing_ok=True)
                self._videos.rmdir()
                self._folder.rmdir()

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except (OSError, InputError) as error:
            # a picture that cannot be written names its temporary place
            cause = error.__cause__ if ends_run(error) else error
            if not isinstance(cause, OSError):
                raise
            raise InputError(f"out {self._folder}: cannot be written ({cause.strerror}){ADVICE}") from cause


def check_place(folder: Path) -> Path:
    """Return the folder, or the nearest folder above it that exists.

    Raises:
        InputError: it is a file.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise InputError(f"out {folder}: {place} is a file, expected a folder for the results")
    return place


def stem_of(file: str, taken: Sequence[str]) -> str:
    """Return the beginning of the names of a video's pictures.

    It is the stem of the file's name without leading dots, because ``..mp4`` would name the folder above. It differs from the names
    that are taken even on file systems that ignore case, and leaves room for suffixes.
    """
    stem = "stdin" if file == STDIN else Path(file).stem.lstrip(".") or "video"
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    others = {*map(_folded, taken)}
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if _folded(name) not in others)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _written(name: str, options: Mapping[str, Any]) -> str:
    """Return the value of an option as users write it."""
    value = options.get(name)
    if name == "same" and value:
        with suppress(TypeError, ValueError):  # it is not what peclip writes
            return " ".join(
                ",".join(str(face) for face, group in value if group == least)
                for least in sorted({each for _, each in value})
            )
    if value is None:
        return "false" if name in _SWITCHES else "none"
    return str(value).lower() if isinstance(value, bool) else shown(value)


def ends_run(error: Exception) -> bool:
    """Return whether an error about one video will stop all others, too: the disk is full or cannot be written."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _FULL


def _state(file: str) -> tuple[int, int]:
    """Return size and time of the last change of a video; (-1, 0) if it can be read only once."""
    if file == STDIN or is_live(file):
        return -1, 0
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return -1, 0
    return status.st_size, status.st_mtime_ns
