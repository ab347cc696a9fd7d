"""Training and evaluation on several ranks: what one process gives, ended together, written once. tests/stress has the long form."""

import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from peclip.errors import InputError
from peclip.train import module as train_module
from peclip.train.cluster import signals
from peclip.train.module import PEClipModule
from peclip.train.private_hooks import know_rank, process_rank
from tests.processes import AtCall, OnRank, send
from tests.ranked import in_ranks, logged, write_many
from tests.runs import LABELS, write_config
from tests.stress.killed import outcome
from tests.train.modules import digest

EVALUATED = ("metrics.json", "confusion.csv", "predictions.csv")


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_clip):
    """20 training clips, 3 validation clips, which are one batch for two ranks, and 11 test clips."""
    folder = tmp_path_factory.mktemp("ranks")
    manifest = write_many(folder / "data", {"train": 20, "val": 3, "test": 11}, LABELS)
    return write_config(folder / "tiny.yaml", tiny_clip, manifest)


def options(config, batch, *more):
    """Batches of 6 clips on all ranks together, of which the last has 2; the schedule starts at once."""
    values = {"data.batch_size": batch, "data.eval_batch_size": 4, "model.warmup_epochs": 0, "last.every_n_steps": 2}
    return [
        "fit",
        "--config",
        config,
        *(word for name, value in values.items() for word in (f"--{name}", value)),
        *more,
    ]


def words(args):
    return [str(arg) for arg in args]


def watch(rank):
    """Let a rank write what it trained: which parameters got a gradient, and hashes of the weights before and after."""

    def on_train_start(self):
        self.seen, self.before = set(), digest(self.net.clip.state_dict())

    def on_before_optimizer_step(self, optimizer):
        self.seen |= {name for name, weight in self.named_parameters() if weight.grad is not None and weight.grad.any()}

    def on_train_end(self):
        trained = {f"net.{name}" for name in self.net.trainable_state()}
        frozen = digest(self.net.clip.state_dict()) == self.before
        ddp = self.trainer.strategy.model
        searched = getattr(ddp, "find_unused_parameters", None)
        content = {"all": self.seen == trained, "frozen": frozen, "searched": searched}
        with open(f"watched.{rank}", "w") as file:
            json.dump(content | {"weights": digest(self.net.trainable_state())}, file)

    for hook in (on_train_start, on_before_optimizer_step, on_train_end):
        setattr(PEClipModule, hook.__name__, hook)


def watched(folder, world):
    return [json.loads((folder / f"watched.{rank}").read_text()) for rank in range(world)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, config):
    """A run on one process and one on two ranks of half its batch: 3 clips, which cut a pair of mixed clips in two."""
    folders = {}
    for world in (1, 2):
        folder = folders[world] = tmp_path_factory.mktemp(f"on_{world}")
        results = in_ranks(folder, words(options(config, 6 // world)), world, watch)
        assert [(result.status, result.err) for result in results] == [(0, "")] * world
        assert all(result.out == "" for result in results[1:])
        assert results[0].out.count("The run is in") == 1
    return folders


@pytest.mark.slow
def test_two_ranks_train_as_one_process_and_write_once(runs):
    one, two = (runs[world] / "runs/tiny/version_0" for world in (1, 2))
    assert sorted(path.name for path in one.rglob("*")) == sorted(path.name for path in two.rglob("*"))
    for name, rows in (("train/loss", 8), ("val/loss", 2), ("val/war", 2)):
        assert len(logged(one, name)) == rows
        assert logged(two, name) == pytest.approx(logged(one, name), abs=1e-4)
    assert all(entry["all"] and entry["frozen"] for world in (1, 2) for entry in watched(runs[world], world))
    first, second = watched(runs[2], 2)
    assert first == second
    assert first["searched"] is False


def evaluated(run_folder):
    files = {name: (run_folder / name).read_bytes() for name in EVALUATED if name != "metrics.json"}
    metrics = json.loads((run_folder / "metrics.json").read_text())
    metrics.pop("model", None)  # which an evaluation names, and a training does not
    return {**files, "metrics.json": metrics, "loss": logged(run_folder, "test/loss")}


def wait_for(path, rank):
    """Let the second rank begin when the first has written a file, as where Lightning starts the others."""
    while rank and not Path(path).exists():
        time.sleep(0.05)


@pytest.mark.slow
def test_the_first_start_with_last_is_a_run_though_the_second_rank_finds_it_begun(config, tmp_path):
    args = words(options(config, 3, "--ckpt_path", "last", "--trainer.max_epochs", 1))
    results = in_ranks(tmp_path, args, 2, partial(wait_for, tmp_path / "runs/tiny/version_0/config.yaml"))
    assert [(result.status, result.err) for result in results] == [(0, "")] * 2
    assert "No run in runs/tiny to resume: starting the first" in results[0].out
    assert results[1].out == ""


@pytest.mark.parametrize(
    ("environment", "nodes", "rank"),
    [({}, 2, 0), ({"NODE_RANK": "2"}, 3, 2), ({"GROUP_RANK": "1"}, 2, 1), ({"NODE_RANK": "1"}, 1, 0)],
)
def test_the_first_process_of_another_node_is_not_the_first_of_all(environment, nodes, rank, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    for name in ("NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    know_rank(nodes)
    assert process_rank() == rank


@pytest.mark.slow
def test_an_evaluation_on_several_ranks_is_that_of_one_process_to_the_byte(runs, config, tmp_path):
    """The 11 clips are three batches of 4, as in the evaluation at the end of the training."""
    trained = runs[1] / "runs/tiny/version_0"
    args = ["test", "--config", config, "--data.eval_batch_size", 4, "--ckpt_path", trained / "checkpoints/best.ckpt"]
    args += ["--out", "out"]
    results = in_ranks(tmp_path, words(args), 2)
    assert [(result.status, result.err) for result in results] == [(0, "")] * 2
    assert evaluated(tmp_path / "out") == evaluated(trained)
    assert evaluated(trained)["predictions.csv"].count(b"\n") == 12


def asking_at_every_step(before, rank):
    signals.PAUSE = 0
    before(rank)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.stress)])
def test_a_signal_to_one_rank_ends_all_after_the_step_and_the_run_resumes(rank, runs, config, tmp_path):
    asked = AtCall("peclip.train.module:PEClipModule.training_step", 6, partial(send, signal.SIGTERM))
    args = words(options(config, 3))
    first, second = in_ranks(tmp_path, args, 2, partial(asking_at_every_step, OnRank(rank, asked)))
    # Lightning, where it started the second rank, takes any other status for a reason to kill the first at once.
    assert (first.status, second.status, second.err) == (143, 0, "")
    assert first.err == "peclip: asked to end: resume with --ckpt_path last\n"
    again = in_ranks(tmp_path, [*args, "--ckpt_path", "last"], 2)
    assert [(result.status, result.err) for result in again] == [(0, "")] * 2
    assert "from step 6" in again[0].out
    assert outcome(tmp_path / "runs/tiny/version_0") == outcome(runs[2] / "runs/tiny/version_0")


def nan_losses():
    original = train_module.total_loss
    train_module.total_loss = lambda *args: original(*args) * float("nan")


def test_a_loss_that_is_not_finite_on_one_rank_stops_all_and_is_reported_once(config, tmp_path):
    first, second = in_ranks(tmp_path, words(options(config, 4)), 2, OnRank(1, nan_losses))
    assert (first.status, second.status, second.err) == (2, 0, "")
    (line,) = first.err.splitlines()
    assert "the loss is nan in step 1 (epoch 1)" in line
    assert line.count(".mp4") == 8  # of both ranks


def broken():
    raise InputError("clip.mp4: it is broken")


@pytest.mark.stress
def test_a_rank_that_fails_says_why_and_ends_the_others(config, tmp_path):
    """The first rank was not started with the other by Lightning here, so it cannot see how that one ended."""
    fails = OnRank(1, AtCall("peclip.data.dataset:read_clip", 3, broken))
    first, second = in_ranks(tmp_path, words(options(config, 4)), 2, fails, limit=30)
    assert second.status == 2
    (line,) = second.err.splitlines()
    assert line.startswith("peclip: error: clip.mp4: it is broken (")
    assert (first.status, first.err) == (
        2,
        "peclip: error: another of the 2 ranks has ended: see its output for the reason\n",
    )
