"""``peclip prepare`` and ``peclip check``: a benchmark's folder into a manifest, and a manifest looked through."""

from rich.console import Console
from rich.progress import Progress

from peclip.data.benchmarks import prepare as read_and_write
from peclip.data.check import check as look_through
from peclip.data.manifest import Manifest


def prepare(benchmark: str, root: str, out: str, scene: str | None = None, form: str | None = None) -> None:
    """Read a benchmark in its released layout and write its manifest.

    Args:
        benchmark: dfew, ferv39k, mafw, afew, caer, ravdess, cremad, or folders (a folder per class, or files named after
            their class).
        root: folder of the release.
        out: csv file to write; clips below its folder are named relative to it.
        scene: one of FERV39K's 22 scenes; all of them by default.
        form: which copy of the clips, where a release has several (frames, faces, video, ...); the message of a wrong one
            lists them.
    """
    chosen = {name: value for name, value in {"scene": scene, "form": form}.items() if value is not None}
    manifest = read_and_write(benchmark, root, out, **chosen)
    console = Console(highlight=False)
    for note in manifest.notes:
        console.print(note, markup=False)
    console.print(f"{len(manifest)} clips of {len(manifest.labels)} classes: {out}", markup=False)
    if manifest.reaches_outside(out):
        console.print("Some clips lie outside the folder of this file: train on it with --data.allow_outside true")


def check(
    manifest: str, benchmark: str | None = None, num_frames: int = 16, full: bool = False, workers: int | None = None
) -> int:
    """Count clips, classes, folds and frames against the published counts, and look at every clip.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest.
        benchmark: whose published counts to compare with; told by the file's name or paths by default.
        num_frames: T; clips with fewer frames count as short.
        full: decode every frame, not only those that a test of the model reads.
        workers: clips looked at at a time; one for each core by default.

    Returns:
        The exit status: 0 where the manifest is fit to train on, else 1.
    """
    table = Manifest.read(manifest, allow_outside=True)
    with Progress(transient=True) as progress:
        report = look_through(table, benchmark, num_frames=num_frames, full=full, workers=workers, progress=progress)
    report.print(Console())
    return 0 if report.fit_to_train else 1
