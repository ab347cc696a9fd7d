"""Loggers beside metrics.csv continue an interrupted run: the same run of theirs, and no step twice."""

import json
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError
from peclip.train.runs.folder import as_text
from peclip.train.runs.loggers import Logs, identified, read_logs, rows_ahead, write_logs
from peclip.train.runs.resume import METRICS, Interrupted, keep_metrics, logged_rows
from peclip.train.runs.wandb_logger import ContinuedWandbLogger, Earlier, Row, row_of
from tests.processes import AtCall, in_a_process, send
from tests.runs import run
from tests.wandb_files import ended_by_wandb, rows_of_wandb

pytestmark = pytest.mark.usefixtures("blank_pictures")


def tensorboard(**options):
    options = {"save_dir": "runs", "name": "tiny", "version": None, "purge_step": None} | options
    return Namespace(class_path="lightning.pytorch.loggers.TensorBoardLogger", init_args=Namespace(**options))


def wandb(**options):
    options = {"version": None, "id": None, "resume": None, "offline": False} | options
    return Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=Namespace(**options))


# --- folders and files that a stranger may have made ---


@pytest.mark.parametrize("name", ["../x", "", "a b", "a\n", "x" * 129])
def test_loggers_continue_only_in_runs_of_wandb_with_an_id(tmp_path, name):
    (tmp_path / "loggers.json").write_text(json.dumps({"wandb": [name]}))
    with pytest.raises(InputError, match=r"loggers\.json: .*expected letters, digits, - and _"):
        read_logs(tmp_path)


@pytest.mark.parametrize("name", ["../x", "..", "", "/tmp/x", "a/b", "a\\b", "./..", "a\0b"])
def test_loggers_continue_only_in_folders_beside_the_run_or_where_the_user_says(tmp_path, name):
    (tmp_path / "loggers.json").write_text(json.dumps({"tensorboard": [name]}))
    known = read_logs(tmp_path)
    with pytest.raises(InputError, match=r"^loggers\.json: .*expected the name of a folder"):
        identified([tensorboard()], tmp_path / "version_0", known, 10)
    (logger,), logs = identified([tensorboard(version=name)], tmp_path / "version_0", known, 10)
    assert (logger.init_args.version, logs.tensorboard) == (name, (name,))


def test_names_that_peclip_gives_to_loggers_are_read_back(tmp_path):
    logs = Logs(tensorboard=(as_text("version_0"), as_text("2024"), as_text("1e3 x")), wandb=("0f3a_-Z",))
    write_logs(tmp_path, logs)
    assert read_logs(tmp_path) == logs


@pytest.mark.parametrize("name", ["metrics.csv", "hparams.yaml"])
def test_a_link_in_a_run_that_resumes_is_not_written_through(tmp_path, name):
    (tmp_path / "other").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match=f"{name}: is a link, expected a file of the run"):
        keep_metrics(Interrupted(tmp_path / "run"), CSVLogger(tmp_path, "", "run"))
    assert (tmp_path / "other").read_text() == "mine"


# --- the same run of theirs ---


def test_tensorboard_logs_into_the_folder_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (logger,), logs = identified([tensorboard()], Path("runs/tiny/version_3"), Logs(), None)
    assert (logger.init_args.version, logs.tensorboard) == ("version_3", ("version_3",))


def test_the_name_of_a_run_that_reads_as_a_number_stays_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (logger,), _ = identified([tensorboard()], Path("runs/tiny/2024"), Logs(), None)
    assert Path("runs/tiny", logger.init_args.version) == Path("runs/tiny/2024")
    assert [as_text(name) for name in ("007", "null", "1e3")] == ["./007", "./null", "./1e3"]
    assert [as_text(name) for name in ("mine", "version_0", "a-1.b")] == ["mine", "version_0", "a-1.b"]


def test_tensorboard_elsewhere_gets_the_next_folder_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tb/x/version_4").mkdir(parents=True)
    given = tensorboard(save_dir="tb", name="x")
    (logger,), logs = identified([given], Path("runs/tiny/version_0"), Logs(), None)
    assert logger.init_args.version == "version_5"
    assert given.init_args.version is None  # the next run has one of its own
    (resumed,), again = identified([given], Path("runs/tiny/version_0"), logs, 10)
    assert (resumed.init_args.version, resumed.init_args.purge_step, again) == ("version_5", 10, logs)


def test_a_version_of_the_user_stays(tmp_path):
    (logger,), _ = identified([tensorboard(version=7)], tmp_path, Logs(), 10)
    assert (logger.init_args.version, logger.init_args.purge_step) == ("version_7", 10)


def test_each_run_of_wandb_has_an_id_that_it_keeps(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    first, logs = identified([wandb(), wandb()], tmp_path, Logs(), None)
    ids = [logger.init_args.version for logger in first]
    assert len({*ids}) == 2
    again, _ = identified([wandb(), wandb()], tmp_path, logs, 10)
    assert [logger.init_args.version for logger in again] == ids
    assert {logger.init_args.resume for logger in again} == {"allow"}


@pytest.mark.parametrize("own", [{"id": "mine"}, {"version": "mine"}, {}])
def test_a_run_of_wandb_that_has_a_name_keeps_it(own, tmp_path, monkeypatch):
    if not own:
        monkeypatch.setenv("WANDB_RUN_ID", "of-a-sweep")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (logger,), logs = identified([wandb(**own)], tmp_path, Logs(), None)
    assert (logger.init_args, logs.wandb) == (wandb(**own).init_args, ())
    for given, resume in ((own, "allow"), (own | {"resume": "must"}, "must"), (own | {"offline": True}, None)):
        (again,), logs = identified([wandb(**given)], tmp_path, Logs(), 10)
        assert (again.init_args, logs.wandb) == (wandb(**given | {"resume": resume}).init_args, ())


def test_names_are_kept_in_the_folder_of_the_run(tmp_path):
    logs = Logs(("version_0",), ("abc",), (Row(12, ("train/loss",)),))
    write_logs(tmp_path, logs)
    assert read_logs(tmp_path) == logs
    write_logs(tmp_path / "none", Logs())
    assert not (tmp_path / "none").exists()


# --- no step twice ---


@pytest.mark.parametrize("step", ["9" * 5_000, "one", "", "-1"])
def test_a_row_without_a_possible_step_is_not_one_of_the_run(step, tmp_path):
    (tmp_path / METRICS).write_text(f"step,train/loss\n0,2.5\n{step},1.5\n2,0.5,3\n3,0.2")
    assert logged_rows(tmp_path) == [{"step": "0", "train/loss": "2.5"}, {"step": "2", "train/loss": "0.5"}]


@pytest.mark.parametrize("cell", [b"1" * 200_000, b"\xff"], ids=["long", "not UTF-8"])
def test_metrics_that_cannot_be_read_are_one_line(cell, tmp_path):
    (tmp_path / METRICS).write_bytes(b"step,train/loss\n0," + cell + b"\n")
    with pytest.raises(InputError, match=r"metrics\.csv cannot be read: .*: remove it") as caught:
        logged_rows(tmp_path)
    assert "\n" not in str(caught.value)


def test_rows_of_several_interrupted_sessions_are_ahead():
    rows = [{"step": "9", "train/loss": "1"}, {"step": "10", "train/loss": "1", "epoch": "2"}]
    earlier = Logs(ahead=(Row(8, ("a",)), Row(12, ("train/loss",))))
    assert rows_ahead(rows, earlier, 10) == (Row(12, ("train/loss",)), Row(10, ("epoch", "train/loss")))


class Run:
    """A run of W&B whose server has the steps up to a last one."""

    def __init__(self, last):
        self.offline, self.summary, self.logged = False, {"trainer/global_step": last}, []

    def log(self, metrics):
        self.logged.append((metrics["trainer/global_step"], metrics["loss"]))


@pytest.mark.parametrize(
    ("last", "logged"),
    [
        (12, [(13, 0.13)]),  # it has all but the last row
        (10, [(11, 0.11), (12, 0.12), (13, 0.13)]),
        (3, [(4, 0.4), (5, 0.5), (10, 0.1), (11, 0.11), (12, 0.12), (13, 0.13)]),  # it lost rows before the checkpoint
        (-1, [(3, 0.3), (4, 0.4), (5, 0.5), (10, 0.1), (11, 0.11), (12, 0.12), (13, 0.13)]),
    ],
)
def test_wandb_gets_every_row_once(last, logged):
    run = Run(last)
    kept = [{"step": str(step), "loss": f"0.{step}"} for step in (3, 4, 5)]
    ahead = frozenset(Row(step, ("loss",)) for step in (10, 11, 12))
    logger = ContinuedWandbLogger(earlier=Earlier(kept, ahead), experiment=run)
    for step in (10, 11, 12, 13):
        logger.log_metrics({"loss": step / 100}, step)
    assert run.logged == logged


def test_other_ranks_log_nothing_to_a_resumed_run_of_wandb(monkeypatch):
    from lightning.pytorch.loggers.logger import DummyExperiment  # what they have in place of a run
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = ContinuedWandbLogger(earlier=Earlier(), experiment=None)
    monkeypatch.setattr(ContinuedWandbLogger, "experiment", DummyExperiment())
    logger.log_metrics({"loss": 1.0}, 3)


def test_settings_that_wandb_refuses_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "bogus")
    with pytest.raises(InputError, match=r"^W&B cannot begin a run: .*mode Input should be 'online'.*'bogus'[^\n]*$"):
        ContinuedWandbLogger(save_dir=tmp_path).experiment  # noqa: B018 - it begins when it is asked for


def test_what_is_no_file_of_wandb_is_not_waited_for(tmp_path):
    (tmp_path / "run.wandb").symlink_to("/dev/null")
    with pytest.raises(InputError, match="is a device"):
        next(ContinuedWandbLogger(experiment=Run(0))._rows_in(tmp_path / "run.wandb"))


def test_the_identity_of_a_row_is_the_same_in_the_file_and_in_the_logger():
    assert row_of(3, {"b": "1", "a": "2", "step": "3"}) == row_of(3, {"a": 2.0, "b": 1.0})


@pytest.mark.slow
def test_a_resumed_run_continues_in_tensorboard(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "tb", "name": "x"}}
    for epochs in ("1", "2"):
        options = ("--model.zero_shot", "false", "--trainer.max_epochs", epochs, "--trainer.logger", json.dumps(logger))
        result = run("fit", "--config", tiny_config, "--ckpt_path", "last", *options)
        assert result.status == 0, result.err
    assert_continued(tmp_path / "tb/x", steps=6)


def assert_continued(folder, steps):
    """Check that there is one run of TensorBoard, with each step once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert [path.name for path in folder.iterdir()] == ["version_0"]
    events = EventAccumulator(str(folder / "version_0"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(steps))
    assert [event.step for event in events.Scalars("test/loss")] == [steps]
    assert "hp_metric" not in events.Tags()["scalars"]


@pytest.mark.stress
def test_a_killed_run_continues_its_logs(tmp_path, tiny_config):
    """In W&B offline, which keeps what it has in a file, and in TensorBoard."""
    loggers = [
        {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "tb", "name": "tiny"}},
        {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"save_dir": "wb", "offline": True}},
    ]
    options = ["fit", "--config", str(tiny_config), "--model.zero_shot", "false", "--data.batch_size", "2"]
    options += ["--last.every_n_steps", "4", "--trainer.logger", json.dumps(loggers)]
    killed = AtCall("peclip.train.module:PEClipModule.training_step", 8, partial(send, SIGKILL))
    assert in_a_process(tmp_path, options, killed)[0] == -SIGKILL
    status, err = in_a_process(tmp_path, [*options, "--ckpt_path", "last"], ended_by_wandb)
    assert status == 0, err

    assert_continued(tmp_path / "tb/tiny", steps=10)
    assert len({path.name for path in tmp_path.glob("wb/wandb/offline-*/*.wandb")}) == 1
    rows = rows_of_wandb(tmp_path / "wb")
    assert sorted(row.step for row in rows if "train/loss" in row.names) == list(range(10))
    assert len({*rows}) == len(rows)
