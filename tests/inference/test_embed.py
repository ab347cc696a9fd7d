"""``peclip embed``: features as the model computes them, in two formats, with little memory, and a map."""

import builtins
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from peclip.data.augment import normalize
from peclip.data.manifest import Manifest
from peclip.data.media.clip import read_clip
from peclip.inference import embed
from peclip.inference.embed import Features
from peclip.inference.feature_map import draw_map, placed
from peclip.inference.trained import load_model
from tests.runs import run


@pytest.fixture(scope="module")
def expected(tiny_run, tiny_data):
    """The features (N, D) of the tiny clips, each computed alone."""
    net, manifest = load_model(str(tiny_run)), Manifest.read(tiny_data)
    clips = [read_clip(manifest.clip(row).path, 3, 32) for row in range(len(manifest))]
    with torch.inference_mode():
        return torch.cat([net.encode_video(normalize(clip[None], net.clip_format)) for clip in clips]).numpy()


def test_parquet_has_a_row_per_clip_of_all_splits_in_the_order_of_the_manifest(
    tiny_run, tiny_data, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed, "GROUP", 8)
    result = run("embed", tiny_data, "--model", tiny_run, "--out", tmp_path, "--num_workers", "0", "--batch_size", "5")
    assert (result.status, result.err) == (0, "")
    assert result.out == f"{tmp_path / 'features.parquet'}: 18 clips, 24 numbers each\n"
    table = pd.read_parquet(tmp_path / "features.parquet")
    assert list(table.columns) == ["path", "label", "split", "feature"]
    assert table["path"].tolist() == Manifest.read(tiny_data).table["path"].tolist()
    assert np.allclose(np.stack(table["feature"]), expected, atol=1e-5)
    assert pq.ParquetFile(tmp_path / "features.parquet").num_row_groups == 2
    with Image.open(tmp_path / "features.png") as picture:
        assert picture.width > 1300  # by label and by split


def test_npz_has_the_same_and_needs_no_pickle(tiny_run, tiny_data, expected, tmp_path):
    options = ["--out", tmp_path, "--format", "npz", "--picture", "none", "--num_workers", "0"]
    result = run("embed", tiny_data, "--model", tiny_run, *options)
    assert (result.status, result.err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]
    with np.load(tmp_path / "features.npz") as found:
        assert sorted(found) == ["feature", "label", "path", "split"]
        assert np.allclose(found["feature"], expected, atol=1e-5)
        assert found["label"].tolist() == Manifest.read(tiny_data).table["label"].tolist()


@pytest.fixture
def broken(tiny_data, tmp_path):
    """The manifest of two clips without labels, of which the first cannot be read, and one of a class."""
    for number, name in enumerate(("13", "14"), start=2):
        found = next(tiny_data.parent.rglob(f"{name}.mp4"))
        shutil.copy(found, tmp_path / f"{number}.mp4")
    (tmp_path / "1.mp4").write_text("no video")
    path = tmp_path / "clips.csv"
    path.write_text("path,label\n1.mp4,\n2.mp4,\n3.mp4,bored\n")
    return path


def test_a_clip_that_cannot_be_read_ends_it_with_one_line_and_nothing_written(tiny_run, broken, tmp_path):
    result = run("embed", broken, "--model", tiny_run, "--out", tmp_path / "out", "--num_workers", "0")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "1.mp4" in result.err
    assert "clips.csv line 2" in result.err
    assert not list((tmp_path / "out").glob("*"))


def test_it_may_be_skipped_and_labels_may_be_any_or_none(tiny_run, broken, tmp_path):
    options = ["--out", tmp_path / "out", "--num_workers", "0", "--batch_size", "1", "--on_error", "skip"]
    for form in ("parquet", "npz"):
        result = run("embed", broken, "--model", tiny_run, *options, "--format", form)
        assert (result.status, result.err) == (0, "")
        assert "2 clips, 1 skipped" in result.out
    table = pd.read_parquet(tmp_path / "out/features.parquet")
    assert table["path"].tolist() == ["2.mp4", "3.mp4"]
    assert table["label"].tolist() == ["", "bored"]
    with np.load(tmp_path / "out/features.npz") as found:
        assert np.allclose(found["feature"], np.stack(table["feature"]))
    with Image.open(tmp_path / "out/features.png") as picture:
        assert picture.width < 800


def test_where_no_clip_can_be_read_there_is_no_file(tiny_run, broken, tmp_path):
    broken.write_text("path\n1.mp4\n")
    options = ["--out", tmp_path / "out", "--num_workers", "0", "--on_error", "skip"]
    result = run("embed", broken, "--model", tiny_run, *options)
    assert (result.status, "no clip could be read" in result.err) == (2, True)
    assert not list((tmp_path / "out").glob("*"))


def test_without_scikit_learn_it_is_said_before_anything_is_read(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    result = run("embed", "nowhere.csv", "--model", "nowhere")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "pip install 'peclip[embed]'" in result.err


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_few_clips_have_places_too(count):
    assert placed(np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32))[1].shape == (count, 2)


def test_the_picture_of_many_clips_shows_some_and_memory_keeps_no_more(monkeypatch, tmp_path, tiny_data):
    monkeypatch.setattr(embed, "MOST", 6)
    clips = Manifest.read(tiny_data)
    batches = (Features(np.arange(first, first + 3), np.ones((3, 4), np.float32)) for first in range(0, 18, 3))
    seen = []
    shown = embed.write_features(tmp_path / "a.parquet", clips, batches, "parquet", seen.append)
    assert shown.rows.tolist() == [0, 3, 6, 9, 12, 15]
    assert seen == [3] * 6


def test_a_map_of_many_subjects_lists_some(tmp_path):
    lines = [f"{number}.mp4,happiness,{number}" for number in range(40)]
    (tmp_path / "m.csv").write_text("path,label,subject\n" + "\n".join(lines) + "\n")
    values = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    draw_map(tmp_path / "m.png", Manifest.read(tmp_path / "m.csv"), Features(np.arange(40), values), "$m_")
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.width > 1300


def test_a_picture_says_by_what_method_places_are_found_and_clips_that_are_alike_have_one():
    """t-SNE divides by how far features differ."""
    method, places = placed(np.ones((6, 4), np.float32))
    assert method == placed(np.eye(3, dtype=np.float32))[0] == "principal components"
    assert np.allclose(places, 0)
    assert placed(np.eye(6, dtype=np.float32))[0] == "t-SNE"
