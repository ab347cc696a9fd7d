"""``peclip recognize``: a person's own videos -> a folder with a table, json and timeline pictures."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import transformers
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from peclip import __version__
from peclip.errors import InputError, in_one_line
from peclip.inference.recognizer import Recognizer
from peclip.inference.sources import duration, find_videos, is_live, read_frames
from peclip.inference.timeline import TABLE, Timeline


def recognize(
    videos: list[str],
    model: str,
    out: str = "recognized",
    faces: Literal["yunet", "none"] = "yunet",
    face_model: str | None = None,
    window: float = 2.0,
    stride: float = 1.0,
    batch_size: int = 4,
    device: str = "auto",
    backbone: str | None = None,
) -> int:
    """Tell which expression is shown when in videos, and on whose face.

    Writes into a folder: timeline.csv with a row per window and face (file, track, start and end in seconds, label, a
    probability per class, share of the window's frames with the face; a stretch without a face is a row that says so),
    the same as timeline.json, and a picture of the timeline per video.

    Args:
        videos: Video files, folders of them, - for a video that is piped in, or a camera such as /dev/video0 (end it
            with Ctrl-C).
        model: Trained model: the folder of a run, a .ckpt, a package or its Hub id, or a released .pth.
        out: Folder for the results. Files of the same names in it are replaced.
        faces: How faces are found: yunet finds and follows every face (needs the extra peclip[faces]); none takes the
            middle of each frame, for videos that are face crops already.
        face_model: ONNX file of YuNet; by default it is fetched from the Hub once.
        window: Length of a window in seconds, above 0 and at most 60.
        stride: Seconds from one window to the next, above 0 and at most the window.
        batch_size: Clips that go through the model at once.
        device: auto (a GPU where there is one), cpu, cuda, cuda:1 or mps.
        backbone: Where the CLIP is, if not at the name that the model had it by in training.

    Returns:
        Exit code: 0 if every video was read, 1 if some were, 2 if none was.

    Raises:
        InputError: nothing can be done at all, because of the model, the options or the place for the results.
    """
    transformers.logging.disable_progress_bar()
    recognizer = Recognizer(model, faces, face_model, window, stride, batch_size, device, backbone)
    head = {"peclip": __version__, "model": model, "faces": faces, "window": window, "stride": stride}
    done = failed = 0
    console = Console(stderr=True)

    def report(error: InputError) -> None:
        nonlocal failed
        failed += 1
        console.print(
            f"peclip: error: {in_one_line(error)}", style="red", markup=False, highlight=False, soft_wrap=True
        )

    with _tidy_end(), Timeline(Path(out), recognizer.labels, head) as timeline, _progress(console) as progress:
        sources = list(_expand(videos, report))
        for number, source in enumerate(sources, start=1):
            count = f" {number}/{len(sources)}" if len(sources) > 1 else ""
            task = progress.add_task(f"{os.path.basename(source)}{count}", total=duration(source))
            advance = partial(_advance, progress, task)
            try:
                _recognize(recognizer, source, timeline, advance, report)
                done += 1
            except InputError as error:
                report(error)
            progress.remove_task(task)
    if done:
        rows, read = _count(timeline.rows, "row"), _count(done, "video")
        print(f"{Path(out) / TABLE}: {rows} of {read}, and a picture of each beside it")
    return 2 if not done else 1 if failed else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _tidy_end() -> Iterator[None]:
    """Let the process end as by an exception where it is told to, so that nothing half-written stays behind."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _expand(videos: list[str], report: Callable[[InputError], None]) -> Iterator[str]:
    """Yield each video once, those of folders in order; a folder without any is reported."""
    seen = set()
    for given in videos:
        try:
            found = find_videos(given)
        except InputError as error:
            report(error)
            continue
        for source in found:
            if os.path.normpath(source) not in seen:
                seen.add(os.path.normpath(source))
                yield source


def _recognize(
    recognizer: Recognizer,
    source: str,
    timeline: Timeline,
    advance: Callable[[float], None],
    report: Callable[[InputError], None],
) -> None:
    """Write the rows of a video.

    A pipe or a camera ends as it likes: if it breaks off, the error is reported and what came before is kept.

    Raises:
        InputError: the video cannot be read.
    """
    with timeline.video(source) as add:
        frames = read_frames(source)
        with _live(frames, report) if is_live(source) else nullcontext(frames) as watched:
            for row in recognizer.rows(watched, source):
                add(row)
                advance(row.end)


@contextmanager
def _live(
    frames: Iterator[tuple[float, np.ndarray]], report: Callable[[InputError], None]
) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
    """Give frames that end where the source breaks off or the user interrupts; a second interrupt is not waited for."""
    stopped = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    def watched() -> Iterator[tuple[float, np.ndarray]]:
        yield next(frames)  # what cannot be read at all is a failure like any other
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


def _advance(progress: Progress, task: TaskID, seconds: float) -> None:
    progress.update(task, completed=seconds)


def _progress(console: Console) -> Progress:
    """Return a bar of the seconds of video that are done, on stderr; nothing where that is no terminal."""
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
