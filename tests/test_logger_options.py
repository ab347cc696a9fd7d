"""Loggers that the configuration of a training names: what they have written is read back."""

import json
import struct

import pytest

from tests.runs import blank_pictures, run, trained


@pytest.fixture(scope="module")
def logged(tmp_path_factory, tiny_config):
    """The folder of a run with both loggers below the folder that it was started in; not to be written to."""
    folder = tmp_path_factory.mktemp("logged")
    (folder / "both.yaml").write_text(
        "trainer: {max_epochs: 1, logger: [{class_path: TensorBoardLogger, init_args: {save_dir: board}}, "
        "{class_path: WandbLogger, init_args: {offline: true, project: faces}}]}\n"
    )
    with blank_pictures():
        return trained(folder, "--config", tiny_config, "--config", folder / "both.yaml")


@pytest.mark.slow
def test_tensorboard_by_configuration_is_written_and_read_back(logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (log,) = {file.parent for file in logged.parents[2].rglob("events.out.tfevents.*")}
    board = EventAccumulator(str(log))
    board.Reload()
    assert len(board.Scalars("train/loss")) == 3
    metrics = json.loads((logged / "metrics.json").read_text())
    assert [entry.value for entry in board.Scalars("test/war")] == pytest.approx([metrics["war"]])
    assert (logged / "metrics.csv").is_file()


def wandb_records(path):
    """Yield the records of an offline wandb run: a header of 7 bytes, then a log in LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, []
    assert data[:4] == b":W&B"
    while len(data) - place > 7:
        if 32768 - place % 32768 < 7:  # no record begins in the last bytes of a block
            place += 32768 - place % 32768
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(b"".join(parts))
            yield record
            parts = []


@pytest.mark.slow
def test_an_offline_wandb_run_is_written_and_read_back(logged):
    (file,) = logged.parents[2].rglob("run-*.wandb")
    values, projects = {}, set()
    for record in wandb_records(file):
        if record.run.project:
            projects.add(record.run.project)
        for item in record.history.item:
            values.setdefault(item.key or ".".join(item.nested_key), []).append(json.loads(item.value_json))
    metrics = json.loads((logged / "metrics.json").read_text())
    assert projects == {"faces"}
    assert len(values["train/loss"]) == 3
    assert values["test/war"] == pytest.approx([metrics["war"]])
    assert (logged / "metrics.csv").is_file()


def test_a_csv_logger_of_ones_own_stays_the_only_one(tmp_path, tiny_config, monkeypatch):
    (tmp_path / "mine.yaml").write_text(
        "trainer: {max_epochs: 1, logger: {class_path: CSVLogger, init_args: {save_dir: mine, name: x}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, "--config", tmp_path / "mine.yaml")
    assert result.status == 0, result.err
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("metrics.*")} == {
        "mine/x/version_0/metrics.csv",
        "mine/x/version_0/metrics.json",
    }
