"""The data sets that ``peclip download`` knows: where their files are, and what their licence is."""

import csv
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rich.progress import Progress

from peclip.data.benchmarks.actors import CREMAD_NAME, RAVDESS_NAME
from peclip.data.download.fetch import AGAIN, Remote, fetch, fetch_text, is_file_of
from peclip.errors import InputError, shown
from peclip.files import atomic_write, file_errors, locked, write_json
from peclip.json_text import parse_json

ZENODO = "https://zenodo.org"
CREMAD_LISTS = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
CREMAD_MEDIA = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master"

STATE = "download.json"
"""Note of the archives that are unpacked."""

REPLACE = "remove it and run the same command again"

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, RuntimeError)
"""Errors of the module zipfile at damaged archives; a method of compression that it lacks is a RuntimeError."""

ASKED = {
    "dfew": "https://dfew-dataset.github.io",
    "ferv39k": "https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html",
    "mafw": "https://mafw-database.github.io/MAFW",
    "afew": "https://users.cecs.anu.edu.au/~few_group/AFEW.html",
    "caer": "https://caer-dataset.github.io",
}
"""Pages of the data sets whose authors are asked for a copy."""


@dataclass(frozen=True)
class OpenSet:
    """A data set that may be downloaded.

    Attributes:
        name: name of the data set, as people write it.
        licence: name of the licence, and address of its text.
        size: size of all files, in words.
        fetch: function that writes the data set into a folder.
    """

    name: str
    licence: str
    size: str
    fetch: Callable[[Path, int, Progress], int]


def download(name: str, out: Path, accepted: bool, workers: int, progress: Progress) -> int:
    """Download a data set, or resume an interrupted download.

    Args:
        name: one of :data:`SETS`.
        out: the folder.
        accepted: whether the user accepts the licence.
        workers: files fetched at a time.
        progress: shows the progress.

    Returns:
        The number of videos in the folder.

    Raises:
        InputError: the data set is another one, its licence is not accepted, or a file cannot be fetched or written.
    """
    if name in ASKED:
        raise InputError(f"{name}: its authors give it on a signed request: see {ASKED[name]}")
    if name not in SETS:
        raise InputError(f"unknown data set {shown(name)}, expected one of {', '.join((*SETS, *ASKED))}")
    found = SETS[name]
    if not accepted:
        raise InputError(
            f"{found.name} ({found.size}) has the licence {found.licence}: read it, then add --accept_licence true",
            "accept_licence",
        )
    if not 1 <= workers <= 64:
        raise InputError(f"workers is {workers}, expected 1 to 64", "workers")
    with file_errors():
        out.mkdir(parents=True, exist_ok=True)
    with locked(out, busy=f"{out}: another peclip download is writing there: wait for it"):
        return found.fetch(out, workers, progress)


def _ravdess(out: Path, workers: int, progress: Progress) -> int:
    """Fetch the speech videos of RAVDESS, an archive for each actor, with the sizes and checksums of its record on Zenodo."""
    address = f"{ZENODO}/api/records/1188976"
    record = fetch_text(address)
    try:
        files = {
            file["key"]: Remote(
                f"{ZENODO}/records/1188976/files/{file['key']}?download=1", int(file["size"]), *_parts(file)
            )
            for file in parse_json(record)["files"]
            if re.fullmatch(r"Video_Speech_Actor_\d\d\.zip", file["key"])
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{address}: is not the record of RAVDESS that was expected") from error
    if not files:
        raise InputError(f"{address}: lists no Video_Speech_Actor_01.zip and so on")
    done = _unpacked(out)
    left = {name: remote for name, remote in files.items() if name not in done}
    task = progress.add_task("RAVDESS", total=sum(remote.size for remote in left.values()))

    with _pool(workers) as (pool, ended):

        def arrived(count: int) -> None:
            _go_on(ended)
            progress.advance(task, count)

        def get(name: str) -> None:
            if not (out / name).exists():
                fetch(left[name], out / name, arrived)
                return
            _check_archive(out / name, left[name])
            arrived(left[name].size)

        for name, _ in zip(left, pool.map(get, left), strict=True):
            _unpack(out / name, out)
            done.append(name)
            write_json(out / STATE, {"unpacked": sorted(done)})
            (out / name).unlink()
    return sum(1 for _ in out.glob("Actor_*/*.mp4"))


@contextmanager
def _pool(workers: int) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Return threads that end soon when the context ends early, and the event that ends them."""
    pool, ended = ThreadPoolExecutor(workers), Event()
    try:
        yield pool, ended
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _go_on(ended: Event) -> None:
    if ended.is_set():
        raise InputError(f"interrupted: {AGAIN}")


def _parts(file: dict[str, str]) -> tuple[str, str]:
    algorithm, _, checksum = file["checksum"].partition(":")
    if algorithm not in ("md5", "sha256") or not checksum:
        raise ValueError(file["checksum"])
    return algorithm, checksum


def _unpacked(out: Path) -> list[str]:
    try:
        return list(parse_json((out / STATE).read_text(encoding="utf-8"))["unpacked"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out / STATE}: is damaged: remove it") from error


def _check_archive(archive: Path, remote: Remote) -> None:
    """Check an archive that was in the folder before: an earlier run has fetched it, or the user has put it there.

    Raises:
        InputError: it is another file than the remote one, or cannot be read.
    """
    with file_errors():
        if not is_file_of(remote, archive):
            raise InputError(f"{archive}: is not the file of its {remote.algorithm} checksum: {REPLACE}")


def _unpack(archive: Path, out: Path) -> None:
    """Unpack the videos of an archive, each complete or absent; other members, and names that lead elsewhere, are ignored."""
    with file_errors(), _damage_in_one_line(archive), zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            found = re.fullmatch(r"(?:.*/)?(Actor_\d\d)/([\d-]+)\.mp4", member.filename)
            if found and RAVDESS_NAME.fullmatch(found[2]):
                content = opened.read(member)  # outside atomic_write, which would report its errors as the disk's
                with atomic_write(out / found[1] / f"{found[2]}.mp4") as target:
                    target.write_bytes(content)


@contextmanager
def _damage_in_one_line(archive: Path) -> Iterator[None]:
    """Turn the errors of a damaged archive, which depend on where it is damaged, into an :class:`InputError`."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.strerror is not None:
            raise  # an error of the disk, not of the archive
        raise InputError(f"{archive}: is not a zip file that can be read: {REPLACE}") from error


def _cremad(out: Path, workers: int, progress: Progress) -> int:
    """Fetch the videos of CREMA-D; the pointer that Git keeps of each has its size and checksum."""
    address = f"{CREMAD_LISTS}/SentenceFilenames.csv"
    names = [row.get("Filename") or "" for row in csv.DictReader(fetch_text(address).splitlines())]
    if not names or not all(CREMAD_NAME.fullmatch(name) for name in names):
        raise InputError(f"{address}: is not the list of CREMA-D's videos that was expected")
    folder = out / "VideoFlash"
    task = progress.add_task("CREMA-D", total=len(names))

    with _pool(workers) as (pool, ended):

        def get(name: str) -> None:
            if not (target := folder / f"{name}.flv").exists():
                file = f"VideoFlash/{name}.flv"
                fetch(_pointed_at(f"{CREMAD_LISTS}/{file}", f"{CREMAD_MEDIA}/{file}"), target, lambda _: _go_on(ended))
            progress.advance(task)

        list(pool.map(get, names))
    return len(names)


def _pointed_at(pointer: str, media: str) -> Remote:
    """Return the file that a pointer of Git LFS stands for (https://git-lfs.com)."""
    found = re.search(r"^oid sha256:([0-9a-f]{64})\nsize (\d+)$", fetch_text(pointer), re.MULTILINE)
    if found is None:
        raise InputError(f"{pointer}: is not a pointer of Git LFS")
    return Remote(media, int(found[2]), "sha256", found[1])


SETS = {
    "ravdess": OpenSet(
        "RAVDESS", "CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0)", "24 files, 13 GB", _ravdess
    ),
    "cremad": OpenSet(
        "CREMA-D", "Open Database License 1.0 (https://opendatacommons.org/licenses/odbl/1-0)", "7,442 files", _cremad
    ),
}
