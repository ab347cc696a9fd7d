"""Make small what the printed commands name: data sets, videos, models, lists, and the runs that other commands leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from peclip.labels import SEVEN
from tests.media import write_frames, write_video
from tests.model.backbones.families import write_family
from tests.model.released_small import as_saved, small_ids, small_state
from tests.printed.blocks import ROOT, blocks
from tests.runs import write_data
from tests.scenes import Visit, film
from tests.trees import TREES, ravdess_tree, write_clip


@dataclass(frozen=True)
class Printed:
    """Is made by another printed command."""

    line: str


@dataclass(frozen=True)
class Copy:
    """Is a copy of something else, which is made first if it is known."""

    source: str
    first: str | None = None


def write_manifest(target: Path) -> None:
    """Write the manifest that the documents show, and its clips."""
    block = next(block for block in blocks("csv") if block.text.startswith("path,label,split\n"))
    target.write_text(block.text)
    for number, row in enumerate(block.text.splitlines()[1:]):
        clip = target.parent / row.split(",")[0]
        if not clip.exists():
            write_clip(clip, number)


def write_person(target: Path, seconds: int = 3) -> None:
    """Write a video of one person whom YuNet finds."""
    frames = range(25 * seconds)
    write_video(target, len(frames), frames=film([Visit(1, 100, 60, frames)], len(frames)), codec_options={"crf": "28"})


def write_actors(root: Path) -> None:
    """Write RAVDESS with a face in each clip."""
    ravdess_tree(root)
    for actor in range(1, 7):
        frames = film([Visit(actor, 100, 60, range(4))], 4)
        for number, clip in enumerate(sorted(root.glob(f"Actor_{actor:02d}/*.mp4"))):
            write_video(clip, 4, frames=frames - number, codec_options={"crf": "28"})


def write_released(target: Path) -> None:
    """Write a model as the authors' program saves it."""
    torch.save(as_saved(small_state(), small_ids(len(SEVEN))), target)


def write_farl(target: Path) -> None:
    """Write a backbone in OpenAI's layout, and its tokenizer."""
    family = write_family("file", target.parent / "farl")
    for path in family.path.parent.iterdir():
        path.rename(target if path == family.path else target.parent / path.name)


def write_lists(target: Path) -> None:
    """Write the lists of DFEW's folds as the VideoMAE family has them, beside the target, with the paths of another machine."""
    for fold in range(5):
        for part in ("train", "test"):
            numbers = [number for number in range(1, 15) if (number % 5 == fold) == (part == "test")]
            rows = [f"/home/me/DFEW/Clip/clip_224x224/{number:05d} 5 {(number - 1) % 7}\n" for number in numbers]
            (target.parent / f"DFEW_set_{fold + 1}_{part}.txt").write_text("".join(rows))


def write_own_lists(target: Path) -> None:
    """Write train.csv and test.csv with numbers for labels."""
    for part, first in (("train", 0), ("test", 6)):
        rows = [f"clips/{first + number}.mp4,{number % 3}\n" for number in range(6)]
        (target.parent / f"{part}.csv").write_text("path,id\n" + "".join(rows))


def write_mine(root: Path) -> None:
    """Write the clips of train.csv and test.csv."""
    for number in range(12):
        write_clip(root / f"clips/{number}.mp4", number)


def copy_demo(target: Path) -> None:
    """Give the clips of the demo, which a training has generated, the name that they have in full."""
    (made,) = target.parent.parent.glob("demo-v3-2+1x*/manifest.csv")
    shutil.copytree(made.parent, target.parent, dirs_exist_ok=True)


def write_code(name: str, target: Path) -> None:
    """Write the module that a block of Python of the documents shows: its first line is the name of the file."""
    (block,) = (block for block in blocks("python") if block.text.startswith(f"# {name}\n"))
    target.write_text(block.text)


OWN_PACKAGE = """
from peclip.model import SharedAdapter

class MyAdapter(SharedAdapter):
    def __init__(self, width: int, rank: int = 1) -> None:
        super().__init__(width, reduction=width // rank)
"""

RUN = "runs/ferv39k/version_0"

THINGS: dict[str, Printed | Copy | Callable[[Path], object]] = {
    RUN: Printed("peclip fit --config ferv39k --data.root /data/FERV39K"),
    "runs/dfew/version_0": Printed("peclip fit --config dfew --data.root /data/DFEW --data.fold 1"),
    "runs/dfew_as_released/version_0": Printed(
        "peclip fit --config dfew --config as_released --data.root /data/DFEW --data.fold 1 --name dfew_as_released"
    ),
    "runs/dfew/cv_0": Printed("peclip cv --config dfew --data.root /data/DFEW"),
    "runs/demo/version_0": Printed("peclip fit --config demo"),
    "ferv39k.csv": Printed("peclip prepare ferv39k --root /data/FERV39K --out ferv39k.csv"),
    "packed/manifest.csv": Printed("peclip pack ferv39k.csv --out packed"),
    "/data/RAVDESS/all.csv": Printed("peclip prepare ravdess --root /data/RAVDESS --out /data/RAVDESS/all.csv"),
    "faces/manifest.csv": Printed("peclip faces /data/RAVDESS/all.csv --out faces"),
    "runs/ravdess/cv_0/fold_1": Printed("peclip cv --config ravdess --data.manifest faces/manifest.csv"),
    "ravdess_package": Printed("peclip export runs/ravdess/cv_0/fold_1 --out ravdess_package"),
    "model.onnx": Printed(f"peclip export {RUN} --out model.onnx --format onnx"),
    "runs/other/cv_0": Copy("runs/dfew/cv_0"),
    "runs/full_*": Copy("runs/demo/version_0"),
    "runs/demo_ablations": Copy("runs/demo", first="runs/demo/version_0"),
    "runs/*/version_0": Copy(RUN),
    "predictions.csv": Copy(f"{RUN}/predictions.csv", first=RUN),
    **{f"/data/{name.upper()}": tree for name, tree in TREES.items()},
    "/data/RAVDESS": write_actors,
    "/data/mine": write_mine,
    "data/demo/demo-v3-120+40x16x96-seed0/manifest.csv": copy_demo,
    "DIR": partial(write_data, labels=["brush_hair", "ClimbStairs"]),
    **dict.fromkeys(("mine.csv", "clips.csv", "manifest.csv"), write_manifest),
    "clips/": lambda target: write_manifest(target.parent / "mine.csv"),
    "holiday.mp4": write_person,
    **dict.fromkeys(("clip.mp4", "face.mp4"), partial(write_clip, number=1)),
    "film.mp4": partial(write_person, seconds=15),
    "frames/*.jpg": lambda target: write_frames(target.parent, 5),
    "pe_clip_dfew.pth": write_released,
    "FaRL-Base-Patch16-LAIONFace20M-ep64.pth": write_farl,
    **dict.fromkeys(("DFEW_set_1_train.txt", "DFEW_set_*_train.txt"), write_lists),
    "train.csv": write_own_lists,
    "cluster/sharded.yaml": lambda target: target.write_text((ROOT / "cluster/sharded.yaml").read_text()),
    "my_adapters": lambda target: write_code("my_adapters.py", target.with_suffix(".py")),
    "my_package": lambda target: target.with_suffix(".py").write_text(OWN_PACKAGE),
}
"""Makers of each thing, by the word that names it; functions get its place here."""
