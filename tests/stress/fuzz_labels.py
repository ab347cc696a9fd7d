"""Names of classes made of letters that break files, terminals and parsers.

A name is refused in one line, by the same rule everywhere, or every file that has it is read back with it.
`python -m tests.stress.fuzz_labels --seconds 600` prints the figures of docs/testing.md; `--only N` judges one case again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import yaml
from jsonargparse import get_loader
from pyarrow import parquet

from peclip.clip_format import ClipFormat
from peclip.data.manifest import Manifest
from peclip.inference import timeline as inference
from peclip.inference.recognizer import Row
from peclip.inference.settings import Settings
from peclip.inference.timeline import Timeline
from peclip.json_text import parse_json
from peclip.labels import class_names, flaw, label_of, ordered
from peclip.model.backbones.contract import Backbone
from peclip.model.backbones.load import load_backbone
from peclip.model.io.trained import ModelConfig
from peclip.model.tokens import tokenize
from peclip.results import evaluation
from peclip.results.card import PackageFacts, card
from peclip.results.evaluation import Metrics, read_evaluation, read_metrics, write_evaluation
from peclip.results.formatting import print_metrics
from peclip.results.scores import scores
from peclip.train.callbacks.predictions import as_table, write_csv
from peclip.train.cli.options import dump, dump_in_one_line
from peclip.train.evaluation import Outputs
from tests.stress.timed import main, refusal

WORDS = r"""
null NaN nan None NA yes no on True ~ 1e3 1. .5 0x1F 1_000 12:30 2024-01-01 path label predicted truth start end file track
face_share PATH recall WAR UAR happy Happy sad anger a b Bored bored <|endoftext|> <|startoftext|> [/] [red] [bold ] :x:
:smile: \[ $ $x$ \frac ^ _ __ %s {x} { } * ** =1+1 + - @ # ! &a *a | > <b> ` ' " , ; : \ \n / ../
"""
"""Names, and what markup, formulas and parsers read as something else."""

LETTERS = (
    "\u00e9 e\u0301 \u212b \ufb01 \u0130 \u00df \u4e2d\u6587 \u8868\u60c5 \u0645\u06cc\u200c\u062e \u05d0 \U0001f600 "
    "\U0001f468\u200d\U0001f469 \U0001f1e9\U0001f1ea \u2764\ufe0f \u0300 \ufffd \ufffe \U000e0001"
)
"""Letters of several scripts and normal forms, emojis of several characters, and characters that are none."""

SPACES = [" ", "  ", ": ", "- ", *"\u00a0\u3000\u2009\u200b\u200c\u200d\u2060\ufeff\u00ad\u061c\u200e"]
"""Spaces, joiners and marks."""

CONTROLS = [*"\t\n\r\x00\x07\x7f\x85\u2028\u2029\u202e\u2066\udcff\ud800", "\x1b[31m", "x" * 990]
"""Characters that no name may contain, and the length that is too long."""

PIECES = [*WORDS.split(), *LETTERS.split(), *SPACES]


def prepare(folder: Path) -> None:
    """Write nothing: names need no originals."""


def draw(rng: np.random.Generator) -> list[str]:
    """Return two to six names."""
    pieces = [*PIECES, *CONTROLS] if rng.random() < 0.3 else PIECES
    return ["".join(rng.choice(pieces, int(rng.integers(1, 5)))) for _ in range(rng.integers(2, 7))]


def judge(folder: Path, seed: int, number: int) -> str:
    """Judge names; see :data:`tests.stress.timed.Judge`."""
    rng = np.random.default_rng((seed, number))
    labels, place = draw(rng), folder / str(number)
    place.mkdir()
    for label in labels:
        same_rule(label, place)
    if refusal(lambda: class_names(labels), "label"):
        return "refused"
    names = class_names(labels)
    assert class_names(names) == names, "a name is changed again"
    assert not any(map(flaw, names))
    config(names)
    with nullcontext() if rng.random() < 0.02 else without_pictures():
        files(names, rng, place)
    printed(names)
    return "read back" if tokens(names) else "the same tokens"


def same_rule(label: str, place: Path) -> None:
    """Check that a manifest takes a name if, and only if, it is one."""
    path, (name,) = place / "one.csv", (label.strip(),)
    if not name or any("\ud800" <= letter <= "\udfff" for letter in name) or set(name) & {"\n", "\r", "\x00"}:
        return  # no csv has such a name in one line of text
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label"], ["a.mp4", "fear"], ["b.mp4", name]])
    refused = refusal(lambda: class_names([name]))
    said = refusal(lambda: Manifest.read(path), "one.csv line 3")
    assert bool(refused) == bool(said), f"by itself: {refused}; in a manifest: {said}"


def config(names: tuple[str, ...]) -> None:
    """Check that a model's configuration is read back from JSON, and as options of the command line."""
    made = ModelConfig(
        "demo", "0" * 16, names, {}, None, 100.0, ClipFormat(), texts=dict(zip(names, reversed(names), strict=True))
    )
    plain = made.to_plain()
    for text in (json.dumps(plain), json.dumps(plain, ensure_ascii=False)):
        assert ModelConfig.from_plain(parse_json(text), "config.json") == made
    for text in (dump(plain), dump_in_one_line(plain), json.dumps(dump_in_one_line(plain))):
        found = get_loader("yaml")(text)
        assert (get_loader("yaml")(found) if isinstance(found, str) else found) == plain
    assert "\n" not in dump_in_one_line(plain)


def files(names: tuple[str, ...], rng: np.random.Generator, place: Path) -> None:
    """Check that every file of a run has the names, and gives them back."""
    clips = 3 * len(names)
    truth = np.concatenate([np.arange(len(names)), rng.integers(0, len(names), clips - len(names))])
    predicted = rng.integers(0, len(names), clips)
    rows = [{"path": f"{index}.mp4", "label": names[label], "start": 0.5} for index, label in enumerate(truth)]
    manifest = Manifest(pd.DataFrame(rows), Path("made"), place)
    manifest.write(place / "manifest.csv")
    again = Manifest.read(place / "manifest.csv")
    assert list(again.table["label"]) == [names[label] for label in truth]
    assert again.labels == ordered(names)

    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    metrics = Metrics("test", "validation", 1, 2, scores(matrix, names))
    write_evaluation(place, metrics)
    outputs = Outputs(torch.arange(clips), torch.eye(len(names))[torch.from_numpy(predicted)] * 50)
    write_csv(place / "predictions.csv", manifest, names, outputs, truth=True)
    assert read_metrics(place) == metrics
    found = read_evaluation(place)
    assert (found.labels, found.truth.tolist(), found.predicted.tolist()) == (names, truth.tolist(), predicted.tolist())
    with (place / "confusion.csv").open(newline="", encoding="utf-8") as file:
        (_, *columns), *lines = csv.reader(file)
    assert tuple(map(label_of, columns)) == tuple(line[0] for line in lines) == names
    parquet.write_table(as_table(manifest, names, outputs), place / "a.parquet")
    table = parquet.read_table(place / "a.parquet")
    assert tuple(map(label_of, table.column_names[3:])) == names
    assert table["predicted"].to_pylist() == [names[label] for label in predicted]
    timeline(names, place)
    page = card(
        PackageFacts("demo", names, dict(zip(names, names, strict=True)), ClipFormat(), 1, "fp32", 4, "PE-CLIP")
    )
    assert yaml.safe_load(page.split("---\n")[1])["library_name"] == "peclip"
    classes = page.split("## Classes\n\n")[1].split("\n\n")[0].split("\n")
    assert len(classes) == 2 + len(names)


def timeline(names: tuple[str, ...], place: Path) -> None:
    """Check the table and the json of a recognized video."""
    settings = Settings("0", "m", "yunet", 2.0, 1.0, "32-true")
    with Timeline(place / "out", "a.mp4", "a", names, settings) as written:
        written.add(Row("a.mp4", 1, 0, 1, names[-1], dict.fromkeys(names, 0.5), 1.0))
    with (place / "out/timeline.csv").open(newline="", encoding="utf-8") as file:
        header, row = csv.reader(file)
    assert tuple(map(label_of, header[5:][: len(names)])) == names
    assert row[4] == names[-1]
    found = json.loads((place / "out/timeline.json").read_text(encoding="utf-8"))
    assert tuple(found["labels"]) == tuple(found["rows"][0]["probabilities"]) == names


def printed(names: tuple[str, ...]) -> None:
    """Check that a table on the screen shows each name, and nothing that a terminal obeys."""
    out = io.StringIO()
    with redirect_stdout(out):
        print_metrics(Metrics("test", "validation", 1, 2, scores(np.eye(len(names), dtype=np.int64), names)))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("recall ") >= len(names)


@contextmanager
def without_pictures() -> Iterator[None]:
    """Draw no picture within the context: one takes as long as all the rest."""

    def empty(path: Path, *_: object) -> None:
        path.touch()

    with patch.object(evaluation, "draw_confusion", empty), patch.object(inference, "draw_timeline", empty):
        yield


@cache
def backbone() -> Backbone:
    """The CLIP that comes with peclip, whose tokenizer knows every byte."""
    return load_backbone("demo")


def tokens(names: tuple[str, ...]) -> bool:
    """Return whether the names are different tokens, and the texts of a model therefore."""
    texts = dict(zip(names, names, strict=True))
    said = refusal(lambda: tokenize(backbone(), texts, 2), "text")
    assert said is None or "same tokens" in said or "accepts at most" in said or "no token" in said, said
    return said is None


if __name__ == "__main__":
    main("tests.stress.fuzz_labels")
