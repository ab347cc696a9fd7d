"""Recognise several videos in turn: report unreadable ones, stop live sources, and end cleanly on signals."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from peclip.console import PlainConsole
from peclip.errors import InputError, in_one_line, printable
from peclip.inference.answers import Answers, ends_run
from peclip.inference.frame_table import FrameTable
from peclip.inference.join import Joiner
from peclip.inference.pace import Pace
from peclip.inference.per_frame import Numbered
from peclip.inference.recognizer import Recognizer, Row
from peclip.inference.same import bring_together
from peclip.inference.sources import describe, find_videos, is_live, read_frames
from peclip.inference.timeline import SUMMARY
from peclip.inference.windows import View
from peclip.terminal import say


def recognize_videos(
    recognizer: Recognizer,
    videos: Sequence[str],
    out: Path,
    head: dict[str, Any],
    formats: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    same: Mapping[int, int] | None = None,
    joiner: Joiner | None = None,
    per_frame: bool = False,
) -> int:
    """Recognise videos one after another, and write what they show into a folder; finished ones are not read again.

    Args:
        recognizer: the trained model.
        videos: files, folders of them, ``-`` or cameras.
        out: the folder.
        head: first entries of its json file.
        formats: of files besides csv and json.
        options: what the answers depend on, by name.
        same: the number that a face of the video gets, by its own; see :func:`peclip.inference.same.read_same`.
        joiner: brings tracks together before that.
        per_frame: whether a table has a row for each face in each frame.

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
    answers = Answers(out, recognizer.labels, head, caution, formats, options or {})
    with _tidy_end(), answers, _progress(console) as progress:
        sources = list(_expand(videos, report))
        if same and len(sources) != 1:
            raise InputError(f"same is for one video, whose faces have these numbers: there are {len(sources)}", "same")
        answers.check(sources)
        if done := sum(map(answers.has, sources)):
            console.print(f"peclip: {done} of {len(sources)} videos are finished in {out}", soft_wrap=True)
        for number, source in enumerate(sources, start=1):
            if answers.has(source):
                continue
            count = f" {number}/{len(sources)}" if len(sources) > 1 else ""
            length, choice = describe(source)
            task = progress.add_task(f"{printable(os.path.basename(source))}{count}", total=length)
            if choice:
                console.print(f"peclip: {source}: {choice}", soft_wrap=True)
            pace = Pace(length, partial(_say_pace, console, source))
            advance = partial(_advance, progress, task, pace)
            try:
                with FrameTable(recognizer.labels, caution, recognizer.window) if per_frame else nullcontext() as table:
                    numbers = _recognize(recognizer, source, answers, advance, report, same or {}, joiner, table)
                if numbers:
                    console.print(f"peclip: {printable(source)}: {_joined(numbers)}", soft_wrap=True)
                done += 1
            except InputError as error:
                if ends_run(error):
                    raise
                report(error)
            progress.remove_task(task)
    if done:
        found = answers.finished.values()
        sums = sum(video.rows for video in found), sum(video.faces for video in found), done
        rows, faces, read = (_count(*each) for each in zip(sums, ("row", "face", "video"), strict=True))
        say(f"{out / SUMMARY}: {faces} in {read}, {rows}; beside it segments, the timeline and pictures")
    return 2 if not done else 1 if failed else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _tidy_end() -> Iterator[None]:
    """End the process through an exception on SIGTERM and SIGHUP, so that no incomplete file stays behind."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _expand(videos: Sequence[str], report: Callable[[InputError], None]) -> Iterator[str]:
    """Yield each video once, those of folders in order; report a folder without any, and what is not a file in it."""
    seen = set()
    for given in videos:
        try:
            found = find_videos(given)
        except InputError as error:
            report(error)
            continue
        for source in found:
            if os.path.normpath(source) in seen:
                continue
            seen.add(os.path.normpath(source))
            if source != given and is_live(source):
                report(
                    InputError(
                        f"{source}: is a pipe or a device among the files of a folder: name it itself to read it"
                    )
                )
            else:
                yield source


def _recognize(
    recognizer: Recognizer,
    source: str,
    answers: Answers,
    advance: Callable[[float], None],
    report: Callable[[InputError], None],
    same: Mapping[int, int],
    joiner: Joiner | None,
    table: FrameTable | None,
) -> dict[int, int]:
    """Write the rows of a video, and return the numbers of the tracks that were brought together.

    A pipe or a camera may end at any time: if it breaks off, the error is reported and the rows before it are kept.

    Raises:
        InputError: the video cannot be read.
    """
    joined: dict[int, int] = {}

    def write_frames(folder: Path) -> None:
        if table is not None:
            table.write(folder, {**same, **{track: same.get(person, person) for track, person in joined.items()}})

    with answers.video(source, write_frames) as add:
        frames = read_frames(source)
        with _live(frames, report) if is_live(source) else nullcontext(frames) as watched:
            rows = _followed(_read(recognizer, watched, source, table), advance)
            for row in bring_together(joiner(rows, joined) if joiner else rows, same):
                add(row)
    return joined


def _read(
    recognizer: Recognizer, frames: Iterator[tuple[float, np.ndarray]], source: str, table: FrameTable | None
) -> Iterator[Row]:
    """Return the rows of a video, which a table of frames notes as well."""
    if table is None:
        return recognizer.rows(frames, source)
    numbered, faces = Numbered(frames), table.faces

    def watch(seconds: float, view: View) -> None:
        faces.see(numbered.number(seconds), seconds, view)

    return table.through(recognizer.rows(numbered, source, watch))


def _followed(rows: Iterator[Row], advance: Callable[[float], None]) -> Iterator[Row]:
    for row in rows:
        advance(row.end)
        yield row


def _joined(numbers: Mapping[int, int]) -> str:
    """Return which tracks were brought together."""
    persons = [[track for track in numbers if numbers[track] == person] for person in sorted({*numbers.values()})]
    groups = "; ".join(" and ".join(map(str, sorted(tracks))) for tracks in persons)
    return f"brought together as one person: faces {groups}. With --face_features none each has a picture of its own"


@contextmanager
def _live(
    frames: Iterator[tuple[float, np.ndarray]], report: Callable[[InputError], None]
) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
    """Return frames that end where the source breaks off or the user interrupts; a second interrupt ends the process."""
    stopped = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    def watched() -> Iterator[tuple[float, np.ndarray]]:
        yield next(frames)  # a source that cannot be read at all fails like a file
        try:
            for frame in frames:
                if stopped.is_set():
                    return
                yield frame
        except InputError as error:
            report(error)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGINT, stop)
    try:
        yield watched()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


def _advance(progress: Progress, task: TaskID, pace: Pace, seconds: float) -> None:
    progress.update(task, completed=seconds)
    pace(seconds)


def _say_pace(console: PlainConsole, source: str, text: str) -> None:
    console.print(f"peclip: {printable(source)}: {text}", soft_wrap=True)


def _progress(console: PlainConsole) -> Progress:
    """Return a bar of the seconds of video that are done, on stderr; nothing where stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} s of video"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
