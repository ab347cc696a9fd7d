"""``peclip download``, ``prepare``, ``check``, ``faces`` and ``pack``: data sets, from their addresses to the clips that train."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from peclip.console import PlainConsole, progress_bars
from peclip.errors import InputError, counted
from peclip.terminal import say

if TYPE_CHECKING:
    from peclip.data.manifest import Manifest


def download(name: str, out: str, accept_licence: bool = False, workers: int = 4) -> None:
    """Download a data set with its official checksums; interrupted, the same command resumes.

    Args:
        name: ravdess or cremad; of dfew, ferv39k, mafw, afew and caer the answer is where to ask for them.
        out: folder for the data set.
        accept_licence: confirm that you have read and accept the licence, which the command names without this option.
        workers: files fetched at a time.
    """
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    from peclip.data.download import download as fetch_all

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with progress_bars(*columns) as progress:
        videos = fetch_all(name, Path(out), accept_licence, workers, progress)
    say(f"{videos:,} videos: {out}")
    say(f"next: peclip prepare {name} --root {out} --out {Path(out) / 'all.csv'}")


def prepare(
    benchmark: str,
    root: str,
    out: str,
    scene: str | None = None,
    form: str | None = None,
    first_label: str | None = None,
    votes: bool = False,
) -> None:
    """Read a benchmark in its released layout and write its manifest.

    Args:
        benchmark: dfew, ferv39k, mafw, afew, caer, ravdess, cremad, ucf101, hmdb51, or folders (a folder per class, or files
            named after their class); for lists of other forms see peclip prepare list --help.
        root: folder of the release.
        out: csv file to write; clips below its folder are named relative to it.
        scene: one of FERV39K's 22 scenes; all of them by default.
        form: kind of copy of the clips (frames, faces, video, ...), if a release has several; the error for a wrong one
            lists them.
        first_label: 0 or 1, the number of the first label in DFEW's lists, if they do not show it.
        votes: write the shares of the annotators of dfew or mafw as soft labels, columns p_LABEL.
    """
    from peclip.data import benchmarks

    given = {"scene": scene, "form": form, "first_label": first_label, "votes": "true" if votes else None}
    chosen = {name: value for name, value in given.items() if value is not None}
    manifest = benchmarks.prepare(benchmark, root, out, **chosen)
    _say_written(manifest, out)


def prepare_list(
    files: list[str],
    root: str,
    out: str,
    labels: str | None = None,
    test: list[str] | None = None,
    val: list[str] | None = None,
    first_label: int | None = None,
    drop: int | None = None,
) -> None:
    """Make a manifest of lists as other programs pass them on, with numbered labels and the paths of another machine.

    Args:
        files: lists with lines such as PATH FRAMES LABEL or PATH LABEL, or with a header such as path,id; of training
            clips, or for what their names say (train, val, test). Training and test lists of all folds become folds.
        root: folder below which the clips are; how much of the listed paths to drop follows from the files in it.
        out: csv file to write; clips below its folder are named relative to it.
        labels: names in the order of the numbers (happiness,sadness,...), or the order of dfew, ferv39k, ferv39k_s2d, mafw,
            mafw_dferclip, mafw_s2d, afew, ravdess or cremad; not needed if the lists have names.
        test: lists of test clips.
        val: lists of validation clips.
        first_label: 0 or 1, the number of the first label, if the lists do not show it.
        drop: how many of the first folders of the listed paths to drop, if clips are found in several ways.
    """
    from peclip.data.lists.prepare import prepare_list as read_lists
    from peclip.data.manifest.text import check_replaceable

    if Path(out).resolve() in {Path(file).resolve() for file in [*files, *(test or ()), *(val or ())]}:
        raise InputError(f"out {out} is one of the lists: name another file", "out")
    check_replaceable(out)
    manifest = read_lists(files, root, labels, test or (), val or (), first_label, drop)
    check_replaceable(out, manifest.written_columns)
    manifest.write(out)
    _say_written(manifest, out)


def _say_written(manifest: "Manifest", out: str) -> None:
    from peclip.data.manifest.table import OUTSIDE

    say(*manifest.notes, f"{counted(len(manifest), 'clip')} of {counted(len(manifest.labels), 'class')}: {out}")
    if manifest.reaches_outside(out):
        say(OUTSIDE)


def check(
    manifest: str, benchmark: str | None = None, num_frames: int = 16, full: bool = False, workers: int | None = None
) -> int:
    """Count clips, classes, folds and frames against the published counts, and inspect every clip.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest.
        benchmark: benchmark whose published counts to compare with; by default detected from the file's name or paths.
        num_frames: T; clips with fewer frames count as short.
        full: decode every frame, not only those that a test of the model reads.
        workers: clips inspected at a time; one for each core by default.

    Returns:
        Exit status: 0 if the manifest is fit to train on, possibly with the options that a note names, else 1.
    """
    from peclip.data.check import check as check_clips
    from peclip.data.manifest import Manifest

    table = Manifest.read(manifest, allow_outside=True)
    with progress_bars() as progress:
        report = check_clips(table, benchmark, num_frames=num_frames, full=full, workers=workers, progress=progress)
    report.print(PlainConsole())
    return 0 if report.fit_to_train else 1


def faces(
    manifest: str,
    out: str,
    size: int = 224,
    upright: bool = False,
    workers: int | None = None,
    face_model: str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> None:
    """Crop the face that each clip shows longest, found and followed as peclip recognize does; interrupted, it resumes.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest.
        out: Folder for the crops and their manifest.csv, which data.manifest accepts in training.
        size: Side of the crops in pixels, an even number: that of the model.
        upright: Turn faces so that the eyes are level; the model then needs --model.net.upright true.
        workers: Clips read at a time; one for each core by default.
        face_model: ONNX file of YuNet; by default it is downloaded from the Hub once.
        on_error: End at a clip that cannot be read, or skip it; without_face.csv lists those that are skipped.
    """
    from peclip.data.manifest import Manifest
    from peclip.inference.face_clips import MANIFEST, WITHOUT, Cropping, crop_faces

    cores = os.cpu_count() or 1
    cropping = Cropping(size, upright, cores if workers is None else workers, on_error == "skip", face_model)
    table = Manifest.read(manifest, labels_required=False, allow_outside=True)
    with progress_bars() as progress:
        found = crop_faces(table, Path(out), cropping, progress)
    if not len(found.manifest):
        raise InputError(
            f"none of {counted(len(table), 'clip')} shows a face that can be followed: see {Path(out) / WITHOUT}"
        )
    say(f"{len(found.manifest)} of {len(table)} clips show a face: {out}")
    if found.without or found.unreadable:
        unreadable = f", {found.unreadable} that cannot be read" if found.unreadable else ""
        say(f"{found.without} without a face{unreadable}: listed in {Path(out) / WITHOUT}")
    turned = " --model.net.upright true" if upright else ""
    say(f"train on them with --data.manifest {Path(out) / MANIFEST}{turned}")


def pack(
    manifest: str, out: str, size: int = 224, quality: int = 90, shard_size: int = 256, workers: int | None = None
) -> None:
    """Pack clips into few large files with their manifest; an interrupted run resumes when started again.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest.
        out: folder for the shards and their manifest.csv, which data.manifest accepts in training.
        size: side of the frames in pixels: that of the model.
        quality: quality of the frames as JPEG, 1 to 100.
        shard_size: MB of a shard.
        workers: clips decoded at a time; one for each core by default.
    """
    from peclip.data.benchmarks.whole_frames import advice_on_whole_frames
    from peclip.data.manifest import Manifest
    from peclip.data.pack import MANIFEST, Packing
    from peclip.data.pack import pack as write_shards

    packing = Packing(size, quality, shard_size, os.cpu_count() or 1 if workers is None else workers)
    table = Manifest.read(manifest, labels_required=False, allow_outside=True)
    if advice := advice_on_whole_frames(table):
        say(advice)  # the frames of packed clips are square
    with progress_bars() as progress:
        packed = write_shards(table, Path(out), packing, progress)
    shards = sorted(Path(out).glob("shard-*.zip"))
    total = sum(shard.stat().st_size for shard in shards)
    say(f"{counted(len(packed), 'clip')} in {counted(len(shards), 'shard')}, {total / 1e9:.2f} GB: {out}")
    say(f"train on them with --data.manifest {Path(out) / MANIFEST}")
