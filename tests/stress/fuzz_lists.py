"""Write random lists and manifests, well or ill formed, and read them in every way there is.

A file is read, and what is written of it is read back as the same, or it is refused by an `InputError` whose line names it,
within seconds and little memory. `python -m tests.stress.fuzz_lists --seconds 600 --seed 0` prints the figures of
docs/testing.md; `--only N` makes and reads item N of the seed again, in this process, where a debugger sees it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from peclip.data.benchmarks import prepare
from peclip.data.check import check
from peclip.data.lists.prepare import prepare_list
from peclip.data.manifest import Manifest
from peclip.errors import InputError, in_one_line, printable
from tests.stress.fuzz import Finding, damaged
from tests.stress.guarded import MOST_MEGABYTES, guarded

SECONDS = 10
"""Time that reading a file may take."""

LONGEST = 1000
"""Letters of the longest line of an error."""

CHUNK = 100
"""Items that a process reads before the clock is looked at."""

CLIPS = tuple(f"{number:05d}" for number in range(1, 8))

FOLDERS = ("frames", "Clip/clip_224x224", "2_ClipsforFaceCrop/Action/Sad", "Actor_01")

PREFIXES = (
    *("", "./", "/", "//", "../", "/home/someone/datasets/", "frames/", "/mnt/data1/DFEW/Clip/clip_224x224/", "~/"),
    *(
        "D:\\DFEW\\frames\\",
        "F:/frames/",
        "\\\\server\\share\\",
        "C:",
        "s3://bucket/",
        "a b/",
        "a,b/",
        "=1+1/",
        "\x1b[2J/",
    ),
    *("/home/someone/frames/", "2_ClipsforFaceCrop/Action/Sad/", "x" * 300 + "/", "\u202e/", "表情/", "é/", "'/", '"/'),
)

GOOD_PREFIXES = (
    "frames/",
    "/home/someone/frames/",
    "D:\\DFEW\\frames\\",
    "/mnt/Clip/clip_224x224/",
    "/x/Action/Sad/",
    "./frames//",
)

LABELS = (
    *(
        "happy",
        "Sad",
        "anger",
        "fear",
        "Bored",
        "happy face",
        "=cmd()",
        "@x",
        "[/]",
        "path",
        "null",
        "yes",
        "1e3",
        "-1",
        "+2",
    ),
    *(
        "\u00a0",
        "a\tb",
        "a\nb",
        "\x00",
        "\x1b[31m",
        "開心",
        "9" * 5000,
        "1.5",
        "3.0",
        "",
        " ",
        "x" * 500,
        '"',
        "a;b",
        "a,b",
    ),
)

FORMS = (
    ("path,label", "{path},{name}"),
    ("path,label,split", "{path},{name},{cell}"),
    ("path,label,split,fold,start,end", "{path},{name},train,{digit},{digit}.5,"),
    ("path;label;fold", "{path};{name};{digit}"),
    ("path\tlabel", "{path}\t{name}"),
    ("label,path", "{name},{path}"),
    ("path", "{path}"),
    ("path,label,extra", "{path},{name},{cell}"),
    ("", "{path} 16 {digit}"),
    ("", "{path} {digit}"),
    ("", "{path},{digit}"),
    ("", "{path} {name}"),
    ("", "{path}\t{name}\tHe smiles."),
    ("video_name,label", "{path},{digit}"),
    ("path,id", "{path},{digit}"),
    ("path label", "{path} {name}"),
    ("id,name,class", "{cell},{path},{digit}"),
    ("sep=;", "{path};{name}"),
    ('"path","label"', '"{path}","{name}"'),
)
"""Headers and lines of the forms there are."""

CELLS = (
    *(
        "train",
        "test",
        "val",
        "trian",
        "",
        "1",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "5",
        "0,5",
        "9" * 400,
        "２",  # noqa: RUF001
        "happy",
    ),
)

ENCODINGS = ("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "gbk", "utf-7")

ENDS = ("\n",) * 6 + ("\r\n", "\r\n", "\r", "\x85", "\u2028", "\x0b", "\n\n", "\n\r", "")

NAMES = (
    *(
        "DFEW_set_1_train.txt",
        "DFEW_set_1_test.txt",
        "train.csv",
        "test.csv",
        "list.txt",
        "set_2_train.csv",
        "set_2_test.csv",
    ),
    *("=list (1).csv", "é.csv"),
)

DFEW = "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv"


T = TypeVar("T")


class Random:
    """Choices of one item."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one(self, values: Sequence[T]) -> T:
        return values[self.rng.integers(len(values))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def number(self, end: int) -> int:
        return int(self.rng.integers(end))


def content(choose: Random) -> bytes:
    """Return a file: mostly one form throughout, sometimes with strange values or lines, and now and then damaged."""
    header, form = FORMS[choose.number(len(FORMS))]
    strange = choose.one(("", "", "odd")) and 0.1
    clips = list(dict.fromkeys(CLIPS[choose.number(len(CLIPS))] for _ in range(choose.number(12))))
    lines = [header] if header or choose.chance(strange or 0) else []
    lines += rows(choose, form, clips * 2 if strange else clips, choose.one(PREFIXES), choose.number(2), strange or 0)
    end = choose.one(ENDS) if choose.chance(0.3) else "\n"
    text = end.join(lines) + (end if choose.chance(0.7) else "")
    data = text.encode(choose.one(ENCODINGS) if choose.chance(0.3) else "utf-8", errors="replace")
    return damaged(data, choose.rng) if choose.chance(0.1) else data


def rows(choose: Random, form: str, clips: Sequence[str], prefix: str, first: int, strange: float) -> list[str]:
    """Return a line for each clip, with a share of strange values."""
    lines = []
    for clip in clips:
        values = {
            "path": (choose.one(PREFIXES) if choose.chance(strange) else prefix) + clip,
            "name": choose.one(LABELS) if choose.chance(strange) else choose.one(LABELS[:4]),
            "cell": choose.one(CELLS) if choose.chance(strange) else choose.one(CELLS[:3]),
            "digit": choose.one(LABELS) if choose.chance(strange) else str((int(clip) + 5) % 7 + first),
        }
        lines.append(choose.one(LABELS) if choose.chance(strange / 4) else form.format(**values))
    return lines


def well_formed(choose: Random, names: Sequence[str]) -> dict[str, bytes]:
    """Return files of one form whose clips are in one of them only."""
    header, form = choose.one(FORMS[:12] + FORMS[13:16])
    prefix, first, end = choose.one(GOOD_PREFIXES), choose.number(2), choose.one(ENDS[:10])
    encoding = choose.one(ENCODINGS[:12])
    files = {}
    for place, name in enumerate(names):
        lines = [*filter(None, [header]), *rows(choose, form, CLIPS[place :: len(names)], prefix, first, 0)]
        files[name] = (end.join(lines) + end).encode(encoding)
    return files


def make(seed: int, number: int, folder: Path) -> Random:
    """Make the files of an item: several lists, and those of a benchmark, beside the clips."""
    choose = Random(np.random.default_rng((seed, number)))
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    calm = choose.chance(0.5)
    names = sorted({choose.one(NAMES) for _ in range(3)})
    files = well_formed(choose, names) if calm else {name: content(choose) for name in names}
    for part in ("train", "test"):
        for fold in (1, 2):
            own = [clip for clip in CLIPS if (int(clip) % 2 + 1 == fold) == (part == "test")]
            lines = ["video_name,label", *(f"{clip},{(int(clip) + 5) % 7 + 1}" for clip in own)]
            name = DFEW.format(part=part, fold=fold)
            files[name] = "\n".join(lines).encode() if calm or choose.chance(0.7) else content(choose)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return choose


def make_clips(folder: Path) -> None:
    """Make folders of clips with an empty file each, as often as lists name them."""
    for parent in FOLDERS:
        for clip in CLIPS:
            (folder / parent / clip).mkdir(parents=True, exist_ok=True)
            (folder / parent / clip / "1.jpg").touch()


def judge(choose: Random, folder: Path) -> str:
    """Read the files of an item in one of the ways there are.

    Returns:
        The way, and whether the files were read or refused.

    Raises:
        AssertionError: what was written is not read back, or an error is not one line that names a file.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    way: Callable[[], Manifest]
    kind = choose.one(("manifest", "manifest", "list", "list", "list", "dfew", "check"))
    out = folder / "out.csv"
    if kind in ("manifest", "check"):
        way = partial(Manifest.read, files[0], labels_required=choose.chance(0.5), allow_outside=choose.chance(0.7))
    elif kind == "dfew":
        way = partial(prepare, "dfew", folder, out)
    else:
        labels = choose.one(
            (*("dfew",) * 6, "mafw", "happiness,sadness,neutral,anger,surprise,disgust,fear", "a,b", "a", ",")
        )
        way = partial(
            prepare_list,
            files[: 1 + choose.number(len(files))],
            folder,
            labels if choose.chance(0.9) else None,
            test=files[2:] if choose.chance(0.3) else (),
            first_label=(None, None, 0, 1)[choose.number(4)],
            drop=(None, None, None, 0, 2)[choose.number(5)],
        )
    try:
        manifest = way()
        if kind == "check":
            check(manifest, num_frames=1, workers=1)
        manifest.write(out)
        assert_same(manifest, Manifest.read(out, labels_required=False, allow_outside=True))
        return f"{kind} read"
    except InputError as error:
        line, message = in_one_line(error), str(error)
    assert line == printable(message), f"not the message: {line}"
    assert len(line) <= LONGEST, f"too long: {line}"
    names = [
        *(path.name for path in files),
        "EmoLabel_DataSplit",
        str(folder),
        "labels",
        "label ",
        "path,",
        "fold",
        "benchmarks",
    ]
    assert any(name in line for name in names), f"names no file: {line}"
    return f"{kind} refused"


def assert_same(one: Manifest, other: Manifest) -> None:
    """Check that two manifests have the same clips."""
    for column in ("label", "split", "fold", "start", "end"):
        assert one.table[column].equals(other.table[column]), f"another {column}"
    assert [str(one.clip(row).path) for row in range(len(one))] == [
        str(other.clip(row).path) for row in range(len(other))
    ]


def fuzz(seconds: float, seed: int) -> tuple[list[Finding], str]:
    """Make and read items for so many seconds.

    Args:
        seconds: to stop after; the items that a process has begun are finished.
        seed: of everything that is random.

    Returns:
        The findings, and the figures in a line.
    """
    begin = time.monotonic()
    findings, counts, slowest, biggest = [], Counter[str](), 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder)
        items = iter(range(1_000_000_000))
        while time.monotonic() - begin < seconds:
            chunk = list(islice(items, CHUNK))
            for number, outcome in zip(chunk, guarded(partial(_read, seed, folder), chunk, SECONDS), strict=True):
                what = outcome.error or ("" if outcome.megabytes < MOST_MEGABYTES else f"{outcome.megabytes:.0f} MB")
                if what:
                    findings.append(Finding(number, "list", what))
                    continue
                counts[outcome.value] += 1
                slowest, biggest = max(slowest, outcome.seconds), max(biggest, outcome.megabytes)
    each = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return findings, (
        f"{counts.total():,} items, seed {seed}: {each}, {len(findings)} findings; at most {slowest:.2f} s and "
        f"{biggest:.0f} MB an item, {time.monotonic() - begin:.0f} s in all"
    )


def _read(seed: int, folder: Path, number: int) -> str:
    with contextlib.redirect_stderr(io.StringIO()):
        return judge(make(seed, number, folder), folder)


def main() -> None:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one item, to be read in this process")
    given = parser.parse_args()
    if given.only is not None:
        folder = Path(tempfile.mkdtemp())
        make_clips(folder)
        try:
            print(judge(make(given.seed, given.only, folder), folder))
        finally:
            shutil.rmtree(folder)
        return
    findings, figures = fuzz(given.seconds, given.seed)
    for finding in findings:
        print(f"item {finding.number}: {finding.what}")
    print(figures)


if __name__ == "__main__":
    import_module("tests.stress.fuzz_lists").main()  # other processes find the functions of a module by its name
