"""Outputs that are not finite are refused when they are written: NaN would be the first class."""

import math

import pytest
import torch
from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.model import PEClip
from peclip.train.metrics import ClassMetrics
from peclip.train.module import PEClipModule
from tests.runs import run

NAN = float("nan")


@pytest.fixture(scope="module")
def package(tiny_run, tmp_path_factory):
    """A package whose weights are finite, but so large that its outputs are not."""
    net = PEClip.from_pretrained(tiny_run)
    with torch.no_grad():
        net.prompts.project[0].bias.fill_(3e38)
    net.save_pretrained(folder := tmp_path_factory.mktemp("nan") / "package")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--data.predict", "all"),
        ("predict", "--shards", "shards"),
        ("test",),
        ("validate", "--data.val", "test"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_command_names_the_clip_and_writes_nothing(command, package, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*command, "--ckpt_path", package, "--data.manifest", tiny_data, "--data.num_workers", "0")
    assert result.status == 2
    (line,) = result.err.splitlines()
    assert line.startswith(f"peclip: error: {tiny_data.parent}/")
    assert ".mp4 (manifest.csv line " in line
    assert "the output of the model is not finite" in line
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.suffix in (".csv", ".parquet", ".png") and "metrics" not in path.name
    ]


def test_recognize_names_the_video_and_goes_on(package, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = sorted(tiny_data.parent.rglob("*.mp4"))[:2]
    result = run("recognize", *videos, "--model", package, "--faces", "none")
    assert result.status == 2
    assert [line.split(" from ")[0] for line in result.err.splitlines()] == [
        f"peclip: error: {video}" for video in videos
    ]
    assert "the output of the model is not finite" in result.err
    assert not (tmp_path / "recognized").exists()


class TestMetrics:
    @pytest.fixture
    def metrics(self):
        return ClassMetrics(["a", "b"])

    @pytest.mark.parametrize("broken", [[NAN, NAN], [NAN, 1.0], [math.inf, 0.0], [0.0, -math.inf]])
    def test_there_is_no_score_with_clips_that_are_not_finite(self, metrics, broken):
        metrics.update(torch.tensor([[1.0, 0.0], broken, broken]), torch.tensor([0, 0, 1]))
        with pytest.raises(InputError, match="not finite for 2 of 3 clips, so there is no score"):
            metrics.scores()
        metrics.scores(strict=False)
        assert metrics.broken == 2
        metrics.reset()
        metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
        assert metrics.scores().war == 1
        assert metrics.broken == 0

    def test_dummy_clips_do_not_count(self, metrics):
        metrics.update(torch.tensor([[1.0, 0.0], [NAN, NAN]]), torch.tensor([0, -1]))
        assert metrics.scores().clips == 1


class Broken(PEClipModule):
    """Gives NaN for every clip that it validates."""

    def validation_step(self, batch, batch_idx):
        with torch.no_grad():
            self.net.prompts.project[0].bias.fill_(NAN)
        return super().validation_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validation_within_a_training_has_no_score(tiny_run, tiny_data):
    data = VideoDataModule(manifest=str(tiny_data), num_workers=0, batch_size=3)
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = Trainer(**quiet, enable_progress_bar=False, max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(Broken(PEClip.from_pretrained(tiny_run)), datamodule=data)
    found = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    assert {"val/war", "val/uar", "val/score", "val/recall/anger"} <= found.keys()
    assert all(math.isnan(value) for value in found.values())
