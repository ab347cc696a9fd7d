"""Labels that look like something else go through every command, and every file that has them is read back."""

import csv
import json
from contextlib import chdir

import pandas as pd
import pytest
import yaml
from pyarrow import parquet

from peclip.labels import column, ordered
from peclip.model.io.checkpoint import read_trained
from peclip.results.evaluation import read_evaluation
from tests.runs import run, write_config, write_data

FEW = ("path", "[/]", "1e3")
MANY = (
    *("null", "yes", "NaN", "True", "path", "label", "predicted", "1e3", "007", "[/]", "[red]", ":x:", "$x$", "_a"),
    *(
        "1+1=2",
        "very bored",
        "a,b",
        'c"d',
        "it's",
        "e: f",
        "# g",
        "- h",
        "\\n",
        "\u00e9t\u00e9",
        "\u4e2d\u6587",
        "\u6c49",
    ),
    *("\u0645\u06cc\u200c\u062e\u0648", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
)


def write_named(folder, labels):
    """Write clips and their manifest, whose labels are written in a spelling of their own where they have one."""
    manifest = write_data(folder, {"train": 2, "test": 1}, [str(number) for number in range(len(labels))])
    spelt = {"very bored": "very\u00a0bored", "\u00e9t\u00e9": "e\u0301te\u0301"}
    with manifest.open(newline="") as file:
        header, *rows = csv.reader(file)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [header, *([path, spelt.get(name := labels[int(label)], name), split] for path, label, split in rows)]
        )
    return manifest


@pytest.fixture
def peclip(tmp_path, monkeypatch):
    """Run a command that must succeed in a folder of its own, and return what it printed."""
    monkeypatch.setenv("COLUMNS", "160")

    def command(*args):
        with chdir(tmp_path):
            result = run(*args)
        assert result.status == 0, result.err
        return result.out

    return command


def test_labels_are_checked_trained_and_predicted_as_they_are(peclip, tiny_clip, tmp_path):
    manifest = write_named(tmp_path / "data", FEW)
    config, names = write_config(tmp_path / "c.yaml", tiny_clip, manifest), tuple(ordered(FEW))
    checked = peclip("check", manifest)
    out = peclip("fit", "--config", config, "--model.net.texts", "names", "--trainer.max_epochs", "1")
    peclip("predict", "--ckpt_path", "runs/tiny/version_0", "--shards", "shards")
    assert all(f"train: {name} " in checked and f"recall {name} " in out for name in names)
    assert read_evaluation(tmp_path / "runs/tiny/version_0").labels == names
    table = parquet.read_table(tmp_path / "shards/shard-00000.parquet")
    assert table.column_names == ["path", "predicted", *map(column, names)]


@pytest.mark.stress
def test_every_command_takes_the_labels_and_every_file_is_read_back(peclip, tiny_clip, tmp_path):
    manifest = write_named(tmp_path / "data", MANY)
    config, model = write_config(tmp_path / "c.yaml", tiny_clip, manifest), tmp_path / "runs/tiny/version_0"
    video = next((tmp_path / "data/test").rglob("*.mp4"))
    peclip("check", manifest)
    out = peclip("fit", "--config", config, "--model.net.texts", "names", "--trainer.max_epochs", "1")
    peclip("test", "--ckpt_path", model, "--out", "tested")
    peclip("predict", "--ckpt_path", model, "--out", "predicted")
    peclip("predict", "--ckpt_path", model, "--shards", "shards")
    peclip("export", model, "--out", "package")
    peclip("test", "--ckpt_path", "package", "--data.manifest", manifest, "--out", "again")
    peclip("compare", "tested", "again", "--out", "compared")
    peclip("recognize", video, "--model", "package", "--faces", "none", "--out", "seen")
    peclip("fit", "--config", model / "config.yaml", "--folder", "repeated", "--trainer.max_epochs", "1")

    names = tuple(ordered(MANY))
    columns = [column(name) for name in names]
    assert all(f"recall {name} " in out for name in names)
    for place in (model, tmp_path / "tested", tmp_path / "again", tmp_path / "repeated"):
        assert read_evaluation(place).labels == names
    for source in (model, tmp_path / "package", tmp_path / "repeated"):
        assert read_trained(source).config.labels == names
    for file, first in {"predicted/predictions.csv": 2, "again/predictions.csv": 3, "seen/timeline.csv": 5}.items():
        table = pd.read_csv(tmp_path / file, keep_default_na=False, dtype={"label": str, "predicted": str})
        assert list(table.columns[first:][: len(names)]) == columns
        assert set(table["label" if first == 5 else "predicted"]) <= {*names}
    assert parquet.read_table(tmp_path / "shards/shard-00000.parquet").column_names[2:] == columns
    confusion = pd.read_csv(tmp_path / "again/confusion.csv", keep_default_na=False, dtype={"truth": str})
    assert (list(confusion.columns), list(confusion["truth"])) == (["truth", *columns], [*names])
    for file in ("again/metrics.json", "compared/comparison.json"):
        found = json.loads((tmp_path / file).read_text())
        assert list((found["runs"][0] if "runs" in found else found)["per_class_recall"]) == [*names]
    assert json.loads((tmp_path / "seen/timeline.json").read_text())["labels"] == [*names]
    assert yaml.safe_load((model / "config.yaml").read_text())["data"]["labels"] == [*names]
    header = (tmp_path / "package/README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(header)["library_name"] == "peclip"
