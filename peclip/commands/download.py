"""``peclip download``: public data sets, from their official addresses."""

from pathlib import Path

from peclip.terminal import say


def download(name: str, out: str, accept_licence: bool = False, workers: int = 4) -> None:
    """Download a data set with its official checksums; interrupted, the same command resumes.

    Args:
        name: ravdess or cremad; of dfew, ferv39k, mafw, afew and caer the answer is where to ask for them.
        out: folder for the data set.
        accept_licence: confirm that you have read and accept the licence, which the command names without this option.
        workers: files fetched at a time.
    """
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    from peclip.console import progress_bars
    from peclip.data.download import download as fetch_all

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with progress_bars(*columns) as progress:
        videos = fetch_all(name, Path(out), accept_licence, workers, progress)
    say(f"{videos:,} videos: {out}")
    say(f"next: peclip prepare {name} --root {out} --out {Path(out) / 'all.csv'}")
