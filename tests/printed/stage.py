"""A folder in which the printed commands work: what their words name is there, and the Hub has tiny models."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from peclip.demo import tasks
from peclip.inference.faces import YUNET_FILES, YUNET_HUB
from tests.conftest import write_tiny_clip
from tests.lacking import YUNET
from tests.model.backbones.families import write_family
from tests.printed.blocks import ROOT, Line, lines
from tests.printed.things import THINGS, Copy, Printed
from tests.runs import Result, run

CLIPS = ("openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
"""Names on the Hub that are a tiny CLIP of twelve blocks here."""

TRAINED = {
    "--trainer.accelerator": "cpu",
    "--trainer.max_epochs": "1",
    "--trainer.limit_train_batches": "1",
    "--trainer.limit_val_batches": "1",
    "--data.num_workers": "0",
}
"""Options that make a training one step."""

TIMED = {"--num_frames": "2", "--steps": "1", "--warmup": "1"}

SMALL: dict[str, dict[str, str]] = {
    "fit": TRAINED,
    "cv": TRAINED,
    "bench train": TIMED | {"--backbone": "tiny"},
    "bench eval": TIMED | {"--backbone": "tiny"},
    "bench eval --model": {"--steps": "1", "--warmup": "1"},
    "bench decode": {"--clips": "2", "--image_size": "32"},
    "pack": {"--size": "32"},
    "embed": {"--num_workers": "0"},
    "explain": {"--curve_steps": "2"},
}
"""Options that are added to a printed command, by its first words, so that it takes seconds."""


@dataclass
class Stage:
    """The folder, and the results of what has run in it.

    Attributes:
        folder: where the commands run.
        results: of the commands that have run, by their lines.
    """

    folder: Path
    results: dict[Line, Result] = field(default_factory=dict)

    def ran(self, line: Line) -> Result:
        """Run a printed command, once, after those that make what it names."""
        if line not in self.results:
            words = self.words(line)
            with pytest.MonkeyPatch.context() as patch, chdir(self.folder):
                for name, value in line.variables:
                    patch.setenv(name, value)
                self.results[line] = run(*words, *_small(words))
        return self.results[line]

    def script(self, line: Line) -> None:
        """Run a script of the repository as ``python SCRIPT ARGUMENTS`` does."""
        script, *words = self.words(line)
        with pytest.MonkeyPatch.context() as patch, chdir(self.folder):
            patch.setattr(sys, "argv", [script, *words])
            patch.syspath_prepend(str(ROOT / script.partition("/")[0]))
            runpy.run_path(str(ROOT / script), run_name="__main__")

    def words(self, line: Line) -> list[str]:
        """Return the arguments of a command, made for this folder, after what they name was made."""
        for word in line.words:
            if THINGS.get(word) != Printed(str(line)):
                self.provide(word)
        return [name for word in line.words[1:] for name in self._expanded(word, word in line.patterns)]

    def provide(self, word: str) -> None:
        """Make what a word names, if it is known and not there yet."""
        place = self.folder / here(word)
        if word not in THINGS or place.exists():
            return
        match THINGS[word]:
            case Printed(text):  # it makes folders itself: an empty one would look like a data set
                (line,) = (line for line in lines() if str(line) == text)
                result = self.ran(line)
                assert result.status == 0, (text, result.err)
            case Copy(source, first):
                self.provide(first or source)
                place = self.folder / here(word).replace("*", "0")
                if not place.exists():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    given = self.folder / source
                    (shutil.copytree if given.is_dir() else shutil.copy)(given, place)
            case make:
                place.parent.mkdir(parents=True, exist_ok=True)
                make(place)

    def _expanded(self, word: str, pattern: bool) -> list[str]:
        found = sorted(self.folder.glob(word)) if pattern else []
        return [str(path.relative_to(self.folder)) for path in found] or [here(word)]


def here(word: str) -> str:
    """Return a word with the folder of the data sets that is here."""
    return re.sub(r"^/data\b", "data", word)


def _small(words: list[str]) -> list[str]:
    """Return the options that make a command small."""
    if {"--help", "--print_config"} & {*words}:
        return []
    known = [name for name in SMALL if words[: len(name.split())] == name.split()]
    options = SMALL[max(known, key=len)] if known else {}
    return [word for option in options.items() for word in option]


@contextmanager
def tiny_hub(folder: Path) -> Iterator[None]:
    """Let the cache of the Hub have tiny models of the names that the documents use, and the detector of faces if there is one."""
    clip, siglip = write_tiny_clip(folder / "clip", blocks=12), write_family("siglip2", folder / "siglip2").path
    detector = folder / "yunet"
    detector.mkdir()
    if YUNET:
        (detector / YUNET_FILES[0]).symlink_to(YUNET.resolve())
    for name, source in {
        **dict.fromkeys(CLIPS, clip),
        "google/siglip2-base-patch16-224": siglip,
        YUNET_HUB: detector,
    }.items():
        cached = folder / "hub" / f"models--{name.replace('/', '--')}"
        (cached / "refs").mkdir(parents=True)
        (cached / "refs/main").write_text("0" * 40)
        shutil.copytree(source, cached / "snapshots" / ("0" * 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        yield


@contextmanager
def small_demo() -> Iterator[None]:
    """Let the demo have few small clips."""
    with pytest.MonkeyPatch.context() as patch:
        for name, draw in tasks.TASKS.items():
            patch.setitem(tasks.TASKS, name, partial(draw, train=2, test=1, frames=8, size=32))
        yield
