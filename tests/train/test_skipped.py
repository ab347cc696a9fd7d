"""Clips that cannot be read and are skipped by `data.on_error: skip`: they are ignored, and reported."""

import csv
import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from peclip.clip_format import ClipFormat
from peclip.data.augment import Mix
from peclip.data.batch import NO_INDEX, Batch
from peclip.data.datamodule import VideoDataModule
from peclip.train.module import PEClipModule
from tests.model.small import build, stir
from tests.processes import AtCall, in_a_process, send
from tests.ranked import in_ranks
from tests.runs import LABELS, run, write_config, write_data
from tests.stress.killed import outcome

pytestmark = pytest.mark.usefixtures("blank_pictures")

SKIP = ("--data.on_error", "skip", "--trainer.max_epochs", "1")


def spoil(manifest, *names):
    """Break the clips of a manifest whose files have these numbers, and return their paths."""
    rows = [row for row in rows_of(manifest) if number_of(row["path"]) in names]
    assert len(rows) == len(names)
    for row in rows:
        (manifest.parent / row["path"]).write_text("no video")
    return [row["path"] for row in rows]


def number_of(path):
    return path.rpartition("/")[2].removesuffix(".mp4")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def data(tmp_path):
    """12 training clips, numbered from 1, and 6 test clips, from 13."""
    return write_data(tmp_path / "data")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(place, tiny_clip, data):
    return write_config(place / "config.yaml", tiny_clip, data)


# --- batches ---


def module(manifest, **options):
    options = {"num_workers": 0, "val": 0, "on_error": "skip", **options}
    data = VideoDataModule(manifest=str(manifest), **options)
    data.clip_format = ClipFormat(2, 24)
    return data


def on_device(data, batch, training=True):
    data.trainer = SimpleNamespace(training=training, lightning_module=None)
    return data.on_after_batch_transfer(batch, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_is_skipped_in_its_batch_and_all_others_stay_the_same(data, workers):
    whole = list(module(data).train_dataloader())
    left_out = whole[1].clip[2]
    spoil(data, str(int(left_out) + 1))
    batches = list(module(data, num_workers=workers).train_dataloader())
    assert [len(batch.clip) for batch in batches] == [4, 3, 4]
    (skipped,) = batches[1].skipped
    assert skipped.clip == left_out
    assert f"{skipped.clip + 1}.mp4: not a video" in skipped.reason
    for batch, before in zip(batches, whole, strict=True):
        kept = before.clip != left_out
        assert torch.equal(batch.clip, before.clip[kept])
        assert torch.equal(batch.video, before.video[kept])
        assert torch.equal(batch.label, before.label[kept])
        assert batch.draws == tuple(draw for draw in before.draws if draw.clip != left_out)


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_without_any_is_one_black_clip_without_label_and_index(data, training):
    spoil(data, *(str(number) for number in range(1, 13)))
    batch = next(iter(module(data, mix=Mix(mixup=1, fmix=0)).train_dataloader()))
    assert (batch.label.tolist(), batch.clip.tolist(), batch.draws) == ([NO_INDEX], [NO_INDEX], ())
    assert len(batch.skipped) == 4
    assert not batch.video.any()
    assert on_device(module(data), batch, training).video.isfinite().all()


def test_what_has_no_label_adds_nothing_to_loss_and_gradients(tiny_clip, monkeypatch):
    net = stir(build(tiny_clip, labels=LABELS))
    trained = PEClipModule(net)
    monkeypatch.setattr(trained, "log", lambda *args, **kwargs: None)
    video = torch.randn(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([1, NO_INDEX, 2])
    loss = trained.training_step(Batch(video, label, torch.arange(3)), 0)
    torch.testing.assert_close(loss, F.cross_entropy(net(video)[[0, 2]], label[[0, 2]]))
    none = torch.tensor([NO_INDEX])
    loss = trained.training_step(Batch(torch.zeros(1, 2, 3, 32, 32), none, none), 0)
    loss.backward()
    assert loss == 0
    gradients = [weight.grad for weight in trained.parameters() if weight.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)  # or other ranks would wait


# --- runs ---


def test_a_run_counts_and_lists_what_it_skipped(place, config, data):
    splits = VideoDataModule(manifest=str(data)).splits
    broken = [clips.table["path"].iat[1] for clips in (splits.train, splits.val, splits.test)]
    spoil(data, *map(number_of, broken))
    result = run("fit", "--config", config, *SKIP)
    assert (result.status, result.err) == (0, "")
    (folder,) = place.glob("runs/tiny/*")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["clips"], metrics["skipped"], metrics["zero_shot"]["clips"]) == (5, 1, 5)
    assert f"Skipped 3 clips that could not be read: see {folder.relative_to(place)}/skipped.csv" in result.out
    rows = rows_of(folder / "skipped.csv")
    assert [(row["split"], row["path"]) for row in rows] == list(zip(("train", "val", "test"), broken, strict=True))
    assert all(row["line"] == f"manifest.csv line {int(number_of(row['path'])) + 1}" for row in rows)
    assert all("not a video" in row["reason"] for row in rows)
    predicted = [row["path"] for row in rows_of(folder / "predictions.csv")]
    assert len(predicted) == 5
    assert not set(predicted) & set(broken)


def test_the_result_is_that_of_a_manifest_without_the_skipped_clips(place, config, data, tiny_run):
    broken = spoil(data, "13", "14", "18")
    before = data.read_text()
    assert run("test", "--config", config, "--ckpt_path", tiny_run, "--out", "skipped", *SKIP).status == 0
    data.write_text("".join(line for line in before.splitlines(True) if line.split(",")[0] not in broken))
    assert run("test", "--config", config, "--ckpt_path", tiny_run, "--out", "without").status == 0
    found = [json.loads(path.read_text()) for path in sorted(place.glob("*/metrics.json"))]
    assert [metrics.pop("skipped") for metrics in found] == [3, 0]
    skipped, without = (metrics.pop("calibration") for metrics in found)
    assert skipped == pytest.approx(without, abs=1e-6)  # batches of other sizes round otherwise
    assert found[0] == found[1]
    for name in ("predictions.csv", "confusion.csv"):
        texts = [path.read_text() for path in place.glob(f"*/{name}")]
        assert texts[0] == texts[1]


def test_predict_leaves_them_out(place, data, tiny_run):
    broken = spoil(data, "16")
    result = run("predict", "--ckpt_path", tiny_run, "--data.manifest", data, "--out", "out", *SKIP)
    assert (result.status, result.err) == (0, "")
    folder = place / "out"
    assert len(rows_of(folder / "predictions.csv")) == 5
    (row,) = rows_of(folder / "skipped.csv")
    assert (row["split"], row["path"]) == ("predict", broken[0])
    assert "Skipped 1 clip that could not be read: see out/skipped.csv" in result.out


@pytest.mark.parametrize(
    ("command", "numbers", "says"),
    [
        ("fit", range(1, 13), "none of the training clips could be read, 9 were skipped; the first: "),
        ("test", range(13, 19), "none of the test clips could be read, 6 were skipped; the first: "),
        ("predict", range(13, 19), "none of the given clips could be read, 6 were skipped; the first: "),
    ],
)
def test_where_none_can_be_read_one_line_says_so(command, numbers, says, place, config, data, tiny_run):
    spoil(data, *map(str, numbers))
    model = () if command == "fit" else ("--ckpt_path", tiny_run, "--out", "out")
    result = run(command, "--config", config, *model, *SKIP)
    assert result.status == 2
    assert result.err.count("\n") == 1, result.err
    assert f"{says}{data.parent}" in result.err
    assert not (place / "out").exists()


def test_unreadable_validation_clips_stop_neither_the_start_nor_the_choice_of_a_checkpoint(place, config, data):
    held_out = VideoDataModule(manifest=str(data)).splits.val.table["path"].tolist()
    assert len(held_out) == 3
    spoil(data, *map(number_of, held_out[:2]))  # those that are tried at the start
    result = run("fit", "--config", config, *SKIP, "--data.eval_batch_size", "1")
    assert (result.status, result.err) == (0, "")
    (folder,) = place.glob("runs/tiny/*")
    assert (folder / "checkpoints/best.ckpt").exists()
    assert [row["split"] for row in rows_of(folder / "skipped.csv")] == ["val", "val"]
    assert json.loads((folder / "metrics.json").read_text())["skipped"] == 0


# --- interrupted, and on several devices ---


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_clips_it_had_skipped(place, config, data):
    spoil(data, "2", "7", "15")
    args = ["fit", "--config", str(config), *SKIP, "--data.batch_size", "2", "--last.every_n_steps", "1"]
    assert in_a_process(place / "whole", args) == (0, "")
    before = AtCall("peclip.train.module:PEClipModule.training_step", 4, partial(send, 9))
    assert in_a_process(place / "killed", args, before)[0] == -9
    assert in_a_process(place / "killed", [*args, "--ckpt_path", "last"])[0] == 0
    whole, killed = (place / name / "runs/tiny/version_0" for name in ("whole", "killed"))
    assert outcome(killed) == outcome(whole)
    assert (killed / "skipped.csv").read_text() == (whole / "skipped.csv").read_text()


def test_ranks_bring_together_what_they_skipped_and_do_not_wait_for_each_other(place, config, data):
    """Break one of the two test clips of each class; with batches of one clip, some batches have none."""
    spoil(data, "2", "7", "8", "13", "15", "18")
    more = ("--data.batch_size", "1", "--model.zero_shot", "false")
    for result in in_ranks(place, ["fit", "--config", config, *SKIP, *more], 2):
        assert result.status == 0, result.err
    (folder,) = place.glob("runs/tiny/*")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["clips"], metrics["skipped"]) == (3, 3)
    numbers = [int(number_of(row["path"])) for row in rows_of(folder / "skipped.csv")]
    assert sorted(numbers) == [2, 7, 8, 13, 15, 18]
    assert len(rows_of(folder / "predictions.csv")) == 3
