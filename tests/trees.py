"""Small trees in the released layouts of the benchmarks, with their quirks; every clip differs from the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.media import numbered_frames, write_video

if TYPE_CHECKING:
    from peclip.data.manifest import Manifest

SEVEN_FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
DFEW_ORDER = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
MAFW_ORDER = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *("contempt", "anxiety", "helplessness", "disappointment"),
)
SIZE = (32, 24)


def write_clip(path: Path, number: int, frames: int = 5) -> None:
    """Write a clip that no other number has: a video where the name has a suffix, else frames ``1.jpg``, ``2.jpg``."""
    names = [""] if path.suffix else [f"{index}.jpg" for index in range(1, frames + 1)]
    (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=bool(path.suffix))
    kind = (number, frames, path.suffix)
    if kind not in WRITTEN:
        _encode(path, number, frames)
        WRITTEN[kind] = [(path / name).read_bytes() for name in names]
        return
    for name, content in zip(names, WRITTEN[kind], strict=True):
        (path / name).write_bytes(content)


WRITTEN: dict[tuple[int, int, str], list[bytes]] = {}
"""Files of the clips that this process has encoded, by number, frames and suffix: most tests write the same ones."""


def _encode(path: Path, number: int, frames: int) -> None:
    pixels = ((numbered_frames(frames, SIZE).astype(int) + 5 * number) % 256).astype(np.uint8)
    if path.suffix:
        codec = {".mp4": "libx264", ".avi": "mpeg4", ".flv": "flv"}[path.suffix]
        write_video(path, frames, frames=pixels, codec=codec)
        return
    for index, frame in enumerate(pixels, start=1):
        Image.fromarray(frame).save(path / f"{index}.jpg")


def ferv39k_tree(root: Path, train: int = 2, test: int = 1, scenes: Sequence[str] = ("Action", "DailyLife")) -> Path:
    """Folders of 3 to 20 frames; lists without a header, separated by spaces, for all scenes and for each."""
    number = 0
    for split, clips in (("train", train), ("test", test)):
        for scene in scenes:
            lines = []
            for emotion in SEVEN_FOLDERS:
                for _ in range(clips):
                    number += 1
                    name = f"{scene}/{emotion}/{number:04d}"
                    write_clip(root / "2_ClipsforFaceCrop" / name, number, frames=3 + 7 * number % 18)
                    lines.append(f"{name} {emotion}\n")
            for path in (f"All_scenes/{split}_All.csv", f"22_scenes/{split}_{scene}.csv"):
                path = root / "4_setups" / path
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a") as file:
                    file.writelines(lines)
    return root


def dfew_tree(
    root: Path, first_label: int = 1, official: bool = True, form: str = "clip_224x224", clips: int = 14
) -> Path:
    """Five folds of csv files; labels from 1 in the official files, usually from 0 in those of other programs."""
    for number in range(1, clips + 1):
        write_clip(root / "Clip" / form / (f"{number:05d}" + (".mp4" if form == "original" else "")), number)
    for part in ("train", "test"):
        for fold in range(5):
            numbers = [n for n in range(1, clips + 1) if (n % 5 == fold) == (part == "test")]
            name = f"{part}(single-labeled)/set_{fold + 1}.csv" if official else f"{part}_set_{fold + 1}.csv"
            path = root / "EmoLabel_DataSplit" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"{n},{(n - 1) % 7 + first_label}\n" for n in numbers]
            path.write_text("video_name,label\n" + "".join(rows))
    return root


def mafw_tree(root: Path, captions: bool = False, form: str = "clips", clips: int = 22) -> Path:
    """Five folds of text files in their two forms; the Chinese captions are GBK."""
    for number in range(1, clips + 1):
        write_clip(root / "data" / form / (f"{number:05d}" + (".mp4" if form == "clips" else "")), number)
    for part in ("train", "test"):
        for fold in range(5):
            lines = b""
            for n in range(1, clips + 1):
                if (n % 5 == fold) != (part == "test"):
                    continue
                fields = [f"{n:05d}.mp4", MAFW_ORDER[(n - 1) % 11]]
                if captions:
                    lines += "\t".join([*fields, "他皱着眉头很生气", "He frowns."]).encode("gbk") + b"\r\n"
                else:
                    lines += " ".join(fields).encode() + b"\n"
            name = "with_caption" if captions else "no_caption"
            path = root / "Train & Test Set" / "single" / name / f"set_{fold + 1}" / f"{part}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lines)
    return root


def afew_tree(root: Path, train: int = 2, val: int = 1) -> Path:
    """``Train`` and ``Val`` with a folder per class of avi files named with nine digits."""
    number = 0
    for split, clips in (("Train", train), ("Val", val)):
        for emotion in SEVEN_FOLDERS:
            for _ in range(clips):
                number += 1
                write_clip(root / split / emotion / f"{number:09d}.avi", number)
    (root / "Test").mkdir()
    return root


def caer_tree(root: Path, train: int = 2, angry: str = "Anger") -> Path:
    """``train``, ``validation`` and ``test`` below ``CAER``, the first class ``Anger``."""
    number = 0
    for split, clips in (("train", train), ("validation", 1), ("test", 1)):
        for emotion in (angry, *SEVEN_FOLDERS[1:]):
            for index in range(1, clips + 1):
                number += 1
                write_clip(root / "CAER" / split / emotion / f"{index:04d}.avi", number)
    return root


def ravdess_tree(root: Path, actors: int = 6) -> Path:
    """A clip of each emotion an actor, with a silent twin, a song and a sound file for some."""
    number = 0
    for actor in range(1, actors + 1):
        folder = root / f"Actor_{actor:02d}"
        for emotion in range(1, 9):
            number += 1
            write_clip(folder / f"01-01-{emotion:02d}-01-01-01-{actor:02d}.mp4", number)
        number += 1
        write_clip(folder / f"02-01-03-01-01-01-{actor:02d}.mp4", number)
        write_clip(folder / f"01-02-04-01-01-01-{actor:02d}.mp4", number + 100)
        (folder / f"03-01-03-01-01-01-{actor:02d}.wav").write_bytes(b"RIFF")
    return root


def cremad_tree(root: Path, actors: int = 5) -> Path:
    """A clip of each emotion an actor as flv, and one of the files that are broken in the release."""
    number = 0
    for actor in range(1001, 1001 + actors):
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
            number += 1
            write_clip(root / "VideoFlash" / f"{actor}_DFA_{emotion}_XX.flv", number)
    (root / "VideoFlash" / "1076_MTI_NEU_XX.flv").write_bytes(b"FLV")
    return root


def numbered_classes(count: int) -> list[str]:
    """Names of classes in CamelCase, in alphabetical order."""
    words = (
        "Juggling",
        "Archery",
        "Bowling",
        "Diving",
        "Fencing",
        "Haircut",
        "Rowing",
        "Surfing",
        "Typing",
        "Knitting",
    )
    return sorted(f"{first}{second}" for first in words for second in (*words, "Billiards"))[:count]


def ucf101_tree(root: Path, classes: int = 101, groups: Sequence[int] = (1, 8, 15, 22)) -> Path:
    """A clip of each group and class; group 1 is tested in fold 1, 8 in fold 2 and 15 in fold 3."""
    write_clip(root / "clip.avi", 1)
    content = (root / "clip.avi").read_bytes()
    (root / "clip.avi").unlink()
    names = numbered_classes(classes)
    lists: dict[str, list[str]] = {"classInd": [f"{index} {name}" for index, name in enumerate(names, 1)]}
    for index, name in enumerate(names, 1):
        (root / "UCF-101" / name).mkdir(parents=True)
        for group in groups:
            clip = f"{name}/v_{name}_g{group:02d}_c01.avi"
            number = (index * 100 + group).to_bytes(4, "little")
            (root / "UCF-101" / clip).write_bytes(content + b"JUNK\x04\0\0\0" + number)  # no two clips are the same
            for fold in (1, 2, 3):
                tested = group == 7 * fold - 6
                lists.setdefault(f"{'test' if tested else 'train'}list0{fold}", []).append(
                    clip if tested else f"{clip} {index}"
                )
    (root / "ucfTrainTestlist").mkdir()
    for name, lines in lists.items():
        (root / "ucfTrainTestlist" / f"{name}.txt").write_text("\r\n".join(lines) + "\r\n")
    return root


def hmdb51_tree(root: Path, classes: int = 51) -> Path:
    """Four clips a class, of three videos: fold 2 uses three of them, and fold 3 tests the clip that fold 1 tests."""
    write_clip(root / "clip.avi", 2)
    content = (root / "clip.avi").read_bytes()
    (root / "clip.avi").unlink()
    (root / "testTrainMulti_7030_splits").mkdir()
    for index, camel in enumerate(numbered_classes(classes)):
        name = camel[0].lower() + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel[1:])
        (root / name).mkdir()
        clips = [f"#1(TV)&_Who's;_{name}_f_cm_np1_ba_bad_{number}.avi" for number in (0, 1)]
        clips += [f"{video}_{name}_h_nm_np2_fr_med_0.avi" for video in ("Let_it_go!", "Old_film")]
        for number, clip in enumerate(clips):
            (root / name / clip).write_bytes(content + b"JUNK\x04\0\0\0" + (10 * index + number).to_bytes(4, "little"))
        for fold, roles in enumerate(("1121", "0211", "1121"), 1):
            lines = [f"{clip} {role} \n" for clip, role in zip(clips, roles, strict=True)]
            (root / "testTrainMulti_7030_splits" / f"{name}_test_split{fold}.txt").write_text("".join(lines))
    return root


TREES = {
    "dfew": dfew_tree,
    "ferv39k": ferv39k_tree,
    "mafw": mafw_tree,
    "afew": afew_tree,
    "caer": caer_tree,
    "ravdess": ravdess_tree,
    "cremad": cremad_tree,
    "ucf101": ucf101_tree,
    "hmdb51": hmdb51_tree,
}
"""The builders by the names of the benchmarks; each takes the root, makes the tree and returns the root."""


def labels_by_path(manifest: Manifest) -> dict[str, str]:
    """Return the label of each clip by the path in its row."""
    return dict(zip(manifest.table["path"], manifest.table["label"], strict=True))
