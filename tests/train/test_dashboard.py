"""Experiment trackers show settings, pictures and speed of a run; their files are read back, value by value."""

import json
import subprocess
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from peclip.clip_format import ClipFormat
from peclip.data.augment import normalize
from peclip.train.callbacks.dashboard import FRAMES, SIDE, frames_of
from peclip.train.cli.arguments import with_loggers
from peclip.train.runs.boards import _named_for_mlflow, surroundings
from peclip.train.runs.wandb_logger import ContinuedWandbLogger, Earlier, Row
from tests.lacking import needs
from tests.runs import blank_pictures, run

OPTIONS = ("--model.zero_shot", "false", "--trainer.log_every_n_steps", "2", "--name", "board")


@pytest.fixture(scope="module")
def board(tmp_path_factory, tiny_config):
    """The folder of a run that is logged to TensorBoard, too, and what TensorBoard holds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path_factory.mktemp("board")
    with chdir(folder), blank_pictures():
        result = run("fit", "--config", tiny_config, "--trainer.logger", "tensorboard", *OPTIONS)
    assert result.status == 0, result.err
    events = EventAccumulator(str(folder / "runs/board/version_0"), {"images": 0, "scalars": 0})
    events.Reload()
    return folder / "runs/board/version_0", events


@pytest.mark.slow
def test_tensorboard_has_every_option(board):
    folder, _ = board
    shown = yaml.unsafe_load((folder / "hparams.yaml").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert shown["model"]["lr_adapters"] == config["model"]["lr_adapters"]
    assert shown["data"] == config["data"]
    assert shown["facts"]["versions"]["torch"] == torch.__version__
    assert shown["facts"]["model"]["trainable"] > 0
    assert shown["facts"]["model"]["flops_per_clip"] > 0
    assert set(shown["facts"]["clips"]) == {"training", "validation", "test"}


def test_the_hyper_parameters_of_tensorboard_stand_beside_results_that_are_logged(board):
    from tensorboard.plugins.hparams import metadata

    folder, events = board
    found = {
        tag: metadata.parse_experiment_plugin_data(content) if tag == metadata.EXPERIMENT_TAG else content
        for tag, content in events.PluginTagToContent(metadata.PLUGIN_NAME).items()
    }
    results = {info.name.tag for info in found[metadata.EXPERIMENT_TAG].metric_infos}
    assert results == {"val/uar", "val/war", "test/uar", "test/war"}
    assert results <= {*events.Tags()["scalars"]}
    assert "hp_metric" not in events.Tags()["scalars"]
    options = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG]).hparams
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert options["model.lr_adapters"].number_value == config["model"]["lr_adapters"]


def test_tensorboard_has_pictures_of_each_evaluation(board):
    _, events = board
    names = {
        f"pictures/{stage}/{name}" for stage in ("val", "test") for name in ("confusion", "calibration", "mistakes")
    }
    assert set(events.Tags()["images"]) == names
    steps = [image.step for image in events.Images("pictures/val/confusion")]
    assert len(steps) == 2
    assert steps == [event.step for event in events.Scalars("val/war")], "a resumed run loses the last one"
    assert len(events.Images("pictures/test/mistakes")) == 1


def test_gradients_of_each_part_and_the_speed_are_logged(board):
    folder, events = board
    scalars = set(events.Tags()["scalars"])
    parts = {"vision.attention", "vision.mlp", "text.attention", "text.mlp", "prompts"}
    assert {f"gradient_norm/{part}" for part in parts} <= scalars
    assert {"speed/clips_per_second", "speed/share_waiting_for_input", "speed/memory_gb"} <= scalars
    assert all(0 <= event.value < 1 for event in events.Scalars("speed/share_waiting_for_input"))
    assert "gradient_norm/prompts" in (folder / "metrics.csv").read_text().splitlines()[0]
    assert "speed/" not in (folder / "metrics.csv").read_text(), "two runs have the same metrics.csv"


def test_the_calibration_error_is_that_of_the_predictions(board):
    import pandas as pd

    from peclip.results.calibration import calibration

    folder, events = board
    table = pd.read_csv(folder / "predictions.csv")
    labels = [*json.loads((folder / "metrics.json").read_text())["per_class_recall"]]
    probabilities = table[labels].to_numpy()
    truth = table["label"].map({label: place for place, label in enumerate(labels)}).to_numpy()
    (event,) = events.Scalars("calibration/test/error")
    assert event.value == pytest.approx(calibration(probabilities, truth).error, abs=1e-4)


def test_without_such_a_logger_nothing_is_computed(tiny_run):
    assert "gradient_norm" not in (tiny_run / "metrics.csv").read_text()


@pytest.mark.stress
def test_wandb_has_it_all(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = run("fit", "--config", tiny_config, "--trainer.logger=wandb", *OPTIONS)
    assert result.status == 0, result.err
    (path,) = tmp_path.glob("wandb/offline-*/*.wandb")
    rows = [*ContinuedWandbLogger(experiment=None)._rows_in(path)]
    names = {name.partition(".")[0] for row in rows for name in row.names}
    assert {"pictures/val/confusion", "pictures/test/mistakes", "tables/test/mistakes"} <= names
    assert {"speed/clips_per_second", "gradient_norm/prompts", "calibration/val/error"} <= names
    assert len(set(rows)) == len(rows)
    assert [*path.parent.glob("files/media/images/pictures/test/mistakes*.png")]
    assert [*path.parent.glob("files/media/table/tables/test/mistakes*.table.json")]


@pytest.mark.stress
def test_mlflow_has_settings_metrics_pictures_mistakes_and_the_report(tmp_path, monkeypatch, tiny_config):
    mlflow = pytest.importorskip("mlflow", reason=needs("MLflow"))
    monkeypatch.chdir(tmp_path)
    site = ("--model.net.adapters", "{'vision.mlp[0:1]': {class_path: peclip.model.SharedAdapter}}")
    result = run("fit", "--config", tiny_config, "--trainer.logger", "mlflow", *site, *OPTIONS)
    assert result.status == 0, result.err
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'peclip'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.data.tags["mlflow.runName"]) == ("FINISHED", "board")
    config = yaml.safe_load((tmp_path / "runs/board/version_0/config.yaml").read_text())
    assert found.data.params["model/lr_adapters"] == str(config["model"]["lr_adapters"])
    assert found.data.params["model/net/adapters/vision.mlp_0:1_/class_path"] == "peclip.model.SharedAdapter"
    metrics = json.loads((tmp_path / "runs/board/version_0/metrics.json").read_text())
    assert found.data.metrics["test/war"] == pytest.approx(metrics["war"])
    assert {"speed/clips_per_second", "gradient_norm/vision.mlp", "calibration/test/error"} <= {*found.data.metrics}
    assert len({entry.step for entry in client.get_metric_history(found.info.run_id, "val/war")}) == 2

    def kept(folder):
        return [Path(entry.path).name for entry in client.list_artifacts(found.info.run_id, folder)]

    assert {"config.yaml", "metrics.json", "predictions.csv", "confusion.png"} <= {*kept("report")}
    for stage, times in (("val", 2), ("test", 1)):
        assert len(kept(f"pictures/{stage}/confusion")) == len(kept(f"tables/{stage}/mistakes")) == times


class Held:
    """Stands in for a run of W&B whose server has steps up to one."""

    offline = False

    def __init__(self, last: int) -> None:
        self.summary = {"trainer/global_step": last}
        self.logged: list[dict[str, object]] = []

    def define_metric(self, *_: object, **__: object) -> None:
        pass

    def log(self, values: dict[str, object], **_: object) -> None:
        self.logged.append(values)


def test_pictures_of_an_evaluation_are_not_shown_again_after_an_interruption():
    held = Held(12)
    logger = ContinuedWandbLogger(earlier=Earlier((), frozenset({Row(11, ("loss",))})), experiment=held)
    for step in (10, 12, 13):
        logger.log_metrics({"pictures/val/confusion": 1.0}, step)
    assert [values["trainer/global_step"] for values in held.logged] == [13]


def test_frames_of_a_mistake_are_as_they_were_before_normalisation():
    video = torch.randint(0, 255, (1, 8, 3, 1, 1), dtype=torch.uint8).expand(1, 8, 3, 32, 32)
    (frames,) = frames_of(normalize(video, ClipFormat()), ClipFormat()).numpy()
    assert frames.shape == (FRAMES, SIDE, SIDE, 3)
    chosen = torch.linspace(0, 7, FRAMES).round().long()
    assert np.abs(frames[:, 5, 5].astype(int) - video[0, chosen, :, 0, 0].numpy().astype(int)).max() <= 1


def test_the_names_of_settings_are_those_that_mlflow_accepts():
    given = {"vision.mlp[6:12]": {"..": [{"a/b": 1}]}, "x" * 300: None}
    assert _named_for_mlflow(given) == {"vision.mlp_6:12_": {"_..": [{"a_b": 1}]}, "x" * 100: None}


def test_loggers_have_names_of_one_word():
    for args in (["--trainer.logger", "wandb", "--name", "x"], ["--trainer.logger=wandb", "--name=x"]):
        (text,) = (json.loads(arg.partition("=")[2] or arg) for arg in with_loggers(args) if "WandbLogger" in arg)
        assert text["class_path"] == "lightning.pytorch.loggers.WandbLogger"
        assert text["init_args"]["name"] == "x"
    (text,) = (json.loads(arg) for arg in with_loggers(["--trainer.logger", "mlflow", "--name", "x"]) if "{" in arg)
    assert text["init_args"]["run_name"] == "x"
    (text,) = (json.loads(arg) for arg in with_loggers(["--trainer.logger+", "tensorboard"]) if "{" in arg)
    assert text["class_path"].endswith(".TensorBoardLogger")
    assert with_loggers(["--trainer.logger", "false"]) == ["--trainer.logger", "false"]
    assert with_loggers(["--trainer.logger"]) == ["--trainer.logger"]


def test_a_run_knows_what_it_ran_on(tmp_path, monkeypatch):
    assert len(surroundings()["git"].get("commit", "0" * 40)) == 40
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert surroundings()["git"] == {}


def test_a_git_that_does_not_answer_ends_no_run(monkeypatch):
    def hang(command, **_):
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(subprocess, "run", hang)
    assert surroundings()["git"] == {}
