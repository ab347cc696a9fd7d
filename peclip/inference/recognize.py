"""Recognize several videos in turn: report unreadable ones, stop live sources, and end cleanly on signals."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from peclip.console import PlainConsole
from peclip.errors import InputError, counted, in_one_line, printable, shown
from peclip.inference.answers import AnswerFolder, Finished, ends_run
from peclip.inference.cautions import timed
from peclip.inference.interrupts import interruptible, tidy_end
from peclip.inference.join import Joiner, bring_together
from peclip.inference.overlay.film import Film
from peclip.inference.overlay.live import Live, ScreenWindow
from peclip.inference.per_frame import FrameTable, Numbered
from peclip.inference.progress import Bar, Pace, progress_on
from peclip.inference.recognizer import Recognizer, Row
from peclip.inference.settings import Options
from peclip.inference.sources import (
    STDIN,
    Described,
    describe,
    expanded,
    is_camera,
    is_live,
    read_frames,
)
from peclip.inference.timeline import SUMMARY, TABLE
from peclip.inference.windows import View
from peclip.terminal import say


def recognize_videos(
    recognizer: Recognizer,
    videos: Sequence[str],
    out: Path,
    options: Options,
    joiner: Joiner | None = None,
    show: bool = False,
) -> int:
    """Recognize videos one after another, and write the answers into a folder; finished videos are skipped.

    Args:
        recognizer: the trained model.
        videos: files, folders of them, ``-`` or cameras.
        out: folder of the answers.
        options: formats and settings of the answers.
        joiner: brings tracks together before faces get the numbers of ``options.same``.
        show: whether what a camera sees is shown in a window.

    Returns:
        Exit code: 0 if every video was read, 1 if some were, 2 if none was.
    """
    done = failed = 0
    console = PlainConsole(error=True)

    def report(error: InputError) -> None:
        nonlocal failed
        failed += 1
        console.print(f"peclip: error: {in_one_line(error)}", style="red", soft_wrap=True)

    caution = recognizer.caution
    if caution:
        console.print(f"peclip: caution: {caution}", style="yellow", soft_wrap=True)
    answers = AnswerFolder(out, recognizer.labels, caution, options)
    with tidy_end(), answers, progress_on(console) as progress:
        sources = list(expanded(videos, report, partial(_note, console)))
        _check(sources, bool(options.same), show)
        answers.check(sources)
        done = sum(map(answers.has, sources))
        _say_what_is_there(console, out, answers, done, len(sources))
        ahead = {source: describe(source) for source in sources if not answers.has(source)}
        several = counted(len(ahead), "video") if len(ahead) > 1 else ""
        pace = Pace(_length(ahead.values()), lambda text: _note(console, several or next(iter(ahead)), text))
        for number, source in enumerate(sources, start=1):
            if source not in ahead:
                continue
            length, choice = ahead[source]
            note = partial(_note, console, source)
            if choice:
                note(choice)
            name = printable(os.path.basename(source)) + (f" {number}/{len(sources)}" if len(sources) > 1 else "")
            bar = Bar(progress, name, length, pace.of_next(length))
            drawing = Bar(progress, f"{name}: drawing", length) if options.video else None
            one = _Video(recognizer, source, answers, options.same, joiner, bar, report, note)
            done += _is_read(one, options.per_frame, drawing, show)
    if done:
        _say_what_was_found(console, out, answers.finished.values(), done, recognizer.is_about_faces)
    return 2 if not done else 1 if failed else 0


def _is_read(video: "_Video", per_frame: bool, drawing: Bar | None, show: bool) -> bool:
    """Read a video, and return whether it could be read; if not, the error is reported.

    Raises:
        InputError: no other video can be read either, see :func:`ends_run`.
    """
    try:
        video.read(per_frame, drawing, show)
    except InputError as error:
        if ends_run(error):
            raise
        video.report(error)
        return False
    return True


def _say_what_is_there(console: PlainConsole, out: Path, answers: AnswerFolder, done: int, videos: int) -> None:
    """Report how many videos are already finished, and how many are redone because another version wrote them."""
    if done:
        console.print(f"peclip: {done} of {videos} videos are finished in {out}", soft_wrap=True)
    if answers.outdated:
        before = f"{counted(answers.outdated, 'video')} by another version of peclip, which counted no cautions"
        console.print(f"peclip: {out} holds {before}: answered again", soft_wrap=True)


def _say_what_was_found(
    console: PlainConsole, out: Path, videos: Collection[Finished], read: int, is_about_faces: bool
) -> None:
    """Report the cautions about the answers of all videos, and where the answers are."""
    for warning in _warnings(videos):
        console.print(f"peclip: caution: {warning}", style="yellow", soft_wrap=True)
    say(f"{out / SUMMARY}: {_sums(videos, read, is_about_faces)}; beside it segments, the timeline and pictures")


def _check(sources: Sequence[str], has_same: bool, show: bool) -> None:
    """Check that options for one video, or for cameras, are given one video, or cameras.

    Raises:
        InputError: they do not.
    """
    if has_same and len(sources) != 1:
        raise InputError(
            f"same needs one video, because faces of other videos have other numbers: there are {len(sources)}", "same"
        )
    if show and (others := [source for source in sources if not is_camera(source)]):
        raise InputError(f"show needs a camera, but {shown(others[0])} is not one", "show")


def _sums(videos: Collection[Finished], read: int, is_about_faces: bool) -> str:
    """Return a phrase with the number of faces, if answers are about faces, of videos that were read, and of rows."""
    rows, faces = sum(video.rows for video in videos), sum(video.faces for video in videos)
    of_faces = f"{counted(faces, 'face')} in " if is_about_faces else ""
    return f"{of_faces}{counted(read, 'video')}, {counted(rows, 'row')} of the timeline"


def _length(videos: Iterable[Described]) -> float | None:
    """Return the total duration in seconds of the videos whose duration is known; None if there is none."""
    known = [video.duration for video in videos if video.duration is not None]
    return sum(known) if known else None


def _warnings(videos: Collection[Finished]) -> Iterator[str]:
    """Yield the cautions about single answers and for how long each holds, and how many faces were not followed."""
    seconds: Counter[str] = Counter()
    for video in videos:
        seconds.update(video.cautions)
    if seconds:
        every = ", ".join(timed(name, each) for name, each in seconds.items())
        yield f"{every}; see the column caution"
    if most := max(video.not_followed for video in videos):
        were = "was" if most == 1 else "were"
        yield f"up to {counted(most, 'face')} at a time {were} not followed; see faces_not_followed in {TABLE}"


@dataclass(frozen=True)
class _Video:
    """One video that is recognized."""

    recognizer: Recognizer
    source: str
    answers: AnswerFolder
    same: Mapping[int, int]
    joiner: Joiner | None
    bar: Bar
    report: Callable[[InputError], None]
    note: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)

    def read(self, per_frame: bool, drawing: Bar | None, show: bool) -> None:
        """Write the rows of a video, and other files about it.

        A pipe or a camera may end at any time: if it breaks off, the error is reported and the rows before it are kept.

        Args:
            per_frame: whether a table has a row for each face in each frame.
            drawing: progress bar of the video that is written with its answers; None if none is written.
            show: whether what a camera sees is shown in a window.

        Raises:
            InputError: the video cannot be read, or not twice, or there is no display.
        """
        if drawing is not None and (self.source == STDIN or is_live(self.source)):
            raise InputError(
                f"{self.source}: is read only once, so it cannot be written with its answers: omit --video"
            )
        known = self.recognizer.labels, self.recognizer.caution
        with (
            ScreenWindow(f"peclip: {self.source}") if show else nullcontext() as window,
            FrameTable(*known, self.recognizer.window) if per_frame else nullcontext() as table,
            Film(self.source, *known, self.note, drawing) if drawing else nullcontext() as film,
            self.bar,
        ):
            live = (
                Live(*known, self.recognizer.is_about_faces, window, self.stopped.set)
                if is_camera(self.source)
                else None
            )
            joined = self._read(table, film, live)
        if joined:
            self.note(_joined(joined))
        if live is not None and (summary := live.summary()):
            self.note(summary)

    def _read(self, table: FrameTable | None, film: Film | None, live: Live | None) -> Mapping[int, int]:
        """Write the answers, and return the numbers of the tracks that were joined."""
        joined: Mapping[int, int] = {}

        def write(folder: Path, stem: str) -> None:
            numbers = {**self.same, **{track: self.same.get(person, person) for track, person in joined.items()}}
            if table is not None:
                table.write(folder, numbers)
            if film is not None:
                film.write(folder, stem, numbers)

        with self.answers.video(self.source, write) as add:
            frames = read_frames(self.source)
            source = interruptible(frames, self.report, self.stopped) if is_live(self.source) else nullcontext(frames)
            with source as watched:
                rows = self._rows(watched, table, film, live)
                if self.joiner is not None:
                    rows, joined = self.joiner.joined(rows)
                for row in bring_together(rows, self.same):
                    add(row)
                    if film is not None:
                        film.record.add(row)
        return joined

    def _rows(
        self,
        frames: Iterator[tuple[float, np.ndarray]],
        table: FrameTable | None,
        film: Film | None,
        live: Live | None,
    ) -> Iterator[Row]:
        """Yield the rows, with the numbers of their tracks; table, film and camera note what they need.

        A thread of the recognizer reads frames and calls ``watch``; rows come in this thread. A camera's rows are computed in one more
        thread, so that its window stays responsive.
        """
        numbered = Numbered(live.frames(frames) if live else frames)

        def watch(seconds: float, view: View) -> None:
            if table is not None:
                table.faces.see(numbered.number(seconds), seconds, view)
            if film is not None:
                film.record.see(seconds, view)
            if live is not None:
                live.see(seconds, view)

        rows = self.recognizer.rows(numbered, self.source, watch, live.omit if live else None)
        for row in live.through(rows) if live else rows:
            if table is not None:
                table.add(row)
            if film is not None:
                film.record.write_seen()
            self.bar(row.end)
            yield row


def _joined(numbers: Mapping[int, int]) -> str:
    """Return a sentence that says which tracks were joined."""
    persons = [[track for track in numbers if numbers[track] == person] for person in sorted({*numbers.values()})]
    groups = "; ".join(" and ".join(map(str, sorted(tracks))) for tracks in persons)
    return f"brought together as one person: faces {groups}. With --face_features none each has a picture of its own"


def _note(console: PlainConsole, source: str, text: str) -> None:
    console.print(f"peclip: {printable(source)}: {text}", soft_wrap=True)
