"""Several ranks as a user starts them, for long; and every way in which one of them can end the others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from peclip.data.samplers import TrainSampler
from tests.processes import AtCall, OnRank, send
from tests.ranked import in_ranks, logged, write_many
from tests.runs import LABELS, write_config, write_data
from tests.stress.killed import outcome
from tests.train.test_ranks import EVALUATED, evaluated, watch, watched, words

pytestmark = pytest.mark.stress

ROOT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "peclip")
SCRIPT = (str(Path(sys.executable).with_name("peclip")),)
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
LIMIT = 60
"""Seconds within which all ranks are gone when one of them is."""


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_clip):
    """80 training clips, 10 validation and 101 test clips."""
    folder = tmp_path_factory.mktemp("stress_ranks")
    manifest = write_many(folder / "data", {"train": 80, "val": 10, "test": 101}, LABELS)
    return write_config(folder / "tiny.yaml", tiny_clip, manifest)


def start(folder: Path, *args, command=MODULE) -> subprocess.Popen:
    """Start the command in a folder as a user does; what it writes goes to the files out and err there."""
    folder.mkdir(exist_ok=True)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [*command, *words(args)], cwd=folder, stdout=out, stderr=err, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )


def others(process: subprocess.Popen) -> list[int]:
    """The ranks that a process has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"peclip" in command and b"multiprocessing" not in command]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(process: int) -> bool:
    """Return whether a process has ended, even if its parent has not collected it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def steps(folder: Path) -> int:
    metrics = next(folder.glob("runs/tiny/*/metrics.csv"), None)
    return len(logged(metrics.parent, "train/loss")) if metrics else 0


def under_way(folder: Path, config: Path, *more) -> tuple[subprocess.Popen, int]:
    """A run of many epochs on two ranks that has done ten steps, and the process of its second rank."""
    process = start(folder, "fit", "--config", config, *TWO, "--trainer.max_epochs", 200, "--data.batch_size", 2, *more)
    wait_until(lambda: process.poll() is not None or steps(folder) >= 10)
    (second,) = others(process)
    return process, second


# --- the same numbers ---


@pytest.mark.parametrize("batch", [4, 6, 1])
@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
def test_losses_of_20_steps_and_more_agree_on_one_rank_and_on_two(command, batch, config, tmp_path, capsys):
    """Batches of 8, 12 and 2 on one rank. Those of 12 have 8 clips left at the end of each epoch."""
    if command == SCRIPT and batch != 4:
        pytest.skip("one is enough")
    options = [
        "fit",
        "--config",
        config,
        "--model.warmup_epochs",
        0,
        "--trainer.max_epochs",
        3,
        "--data.num_workers",
        1,
    ]
    one = in_ranks(tmp_path / "one", words([*options, "--data.batch_size", 2 * batch]), 1)[0]
    assert (one.status, one.err) == (0, "")
    assert start(tmp_path / "two", *options, "--data.batch_size", batch, *TWO, command=command).wait(300) == 0
    assert (tmp_path / "two/err").read_text() == ""
    out = (tmp_path / "two/out").read_text()
    assert (out.count("The run is in"), out.count("epoch 1/3"), out.count("Results on 101")) == (1, 1, 1)
    runs = [tmp_path / name / "runs/tiny/version_0" for name in ("one", "two")]
    losses = [logged(run, "train/loss") for run in runs]
    assert len(losses[0]) == len(losses[1]) == 3 * -(-80 // (2 * batch)) >= 20
    difference = max(abs(first - second) for first, second in zip(*losses, strict=True))
    with capsys.disabled():
        print(f"\nlargest difference over {len(losses[0])} steps of {2 * batch} clips: {difference:.2g}")
    assert difference < 1e-4
    assert logged(runs[1], "val/loss") == pytest.approx(logged(runs[0], "val/loss"), abs=1e-4)


ABLATIONS = {
    "no sha": ["--config", ROOT / "configs/ablations/no_sha.yaml"],
    "no tda": ["--config", ROOT / "configs/ablations/no_tda.yaml"],
    "no maple": ["--config", ROOT / "configs/ablations/no_maple.yaml"],
    "checkpointing": ["--model.net.checkpointing", "true"],
    "compiled": ["--model.net.compile", "true"],
    "bf16": ["--trainer.precision", "bf16-mixed"],
    "bf16 frozen": ["--trainer.precision", "bf16-mixed", "--model.frozen", "bf16"],
    "bf16 residual": ["--trainer.precision", "bf16-mixed", "--model.residual", "bf16"],
    "collected": ["--trainer.accumulate_grad_batches", "2"],
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_form_trains_without_a_search_for_unused_parameters(name, config, tmp_path):
    options = ["fit", "--config", config, "--model.warmup_epochs", 0, "--trainer.max_epochs", 2]
    losses = []
    for world, batch in ((1, 12), (2, 6)):
        folder = tmp_path / str(world)
        form = ABLATIONS[name] if world == 2 or name != "compiled" else []  # which takes minutes to compile
        results = in_ranks(folder, words([*options, *form, "--data.batch_size", batch]), world, watch, limit=500)
        assert [result.status for result in results] == [0] * world, results
        found = watched(folder, world)
        assert all(entry["all"] and entry["frozen"] for entry in found)
        assert len({entry["weights"] for entry in found}) == 1
        assert {entry["searched"] for entry in found} == {None if world == 1 else False}
        losses.append(logged(folder / "runs/tiny/version_0", "train/loss"))
    # bf16 rounds another way in batches of another size.
    assert losses[1] == (pytest.approx(losses[0], rel=0.05) if "bf16" in name else pytest.approx(losses[0], abs=1e-4))


def test_clips_that_are_skipped_are_skipped_alike_on_one_rank_and_on_two(tiny_clip, tmp_path):
    """Their partners in mixing stay themselves, whichever rank reads them."""
    manifest = write_data(tmp_path / "data", {"train": 8, "test": 3})
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    for row in manifest.read_text().splitlines()[2::5]:
        (tmp_path / "data" / row.split(",")[0]).write_bytes(b"broken")
    options = ["fit", "--config", config, "--data.on_error", "skip", "--data.val", 0, "--model.warmup_epochs", 0]
    runs = []
    for world, batch in ((1, 6), (2, 3)):
        results = in_ranks(tmp_path / str(world), words([*options, "--data.batch_size", batch]), world)
        assert [(result.status, result.err) for result in results] == [(0, "")] * world
        runs.append(tmp_path / str(world) / "runs/tiny/version_0")
    assert logged(runs[1], "train/loss") == pytest.approx(logged(runs[0], "train/loss"), abs=1e-4)
    assert (runs[0] / "skipped.csv").read_bytes() == (runs[1] / "skipped.csv").read_bytes()


@pytest.mark.parametrize("clips", [101, 2])
def test_evaluating_on_two_and_three_ranks_is_evaluating_on_one_to_the_byte(clips, tiny_run, tiny_clip, tmp_path):
    manifest = write_many(tmp_path / "data", {"train": 6, "test": clips}, LABELS)
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    found = []
    for world in (1, 2, 3):
        folder = tmp_path / str(world)
        results = in_ranks(folder, words(["test", "--config", config, "--ckpt_path", tiny_run, "--out", "out"]), world)
        assert [(result.status, result.err) for result in results] == [(0, "")] * world
        found.append(evaluated(folder / "out"))
    assert found[0] == found[1] == found[2]
    assert found[0]["predictions.csv"].count(b"\n") == clips + 1


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_an_evaluation_on_two_devices_as_a_user_types_it(verb, config, tmp_path, tiny_run):
    args = [verb, "--config", config, "--ckpt_path", tiny_run, "--out", "results"]
    (one,) = in_ranks(tmp_path / "one", words(args), 1)
    assert one.status == 0
    two = start(tmp_path / "two", *args, *TWO, command=SCRIPT)
    assert (two.wait(120), (tmp_path / "two/err").read_text()) == (0, "")
    assert (tmp_path / "two/out").read_text() == one.out
    for name in EVALUATED if verb != "predict" else ("predictions.csv",):
        files = [tmp_path / run / "results" / name for run in ("one", "two")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_cross_validation_on_two_devices(tiny_clip, tmp_path):
    manifest = write_data(tmp_path / "data", {"train": 6})
    head, *rows = manifest.read_text().splitlines()
    folds = [f"{row.rpartition(',')[0]},{number % 3 + 1}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([head.replace("split", "fold"), *folds]) + "\n")
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    process = start(tmp_path, "cv", "--config", config, "--data.batch_size", 2, *TWO)
    assert (process.wait(300), (tmp_path / "err").read_text()) == (0, "")
    out = (tmp_path / "out").read_text()
    assert [out.count(line) for line in ("Fold 1", "Fold 2", "Fold 3", "The cross-validation is in")] == [1] * 4


# --- the end of a rank is the end of all ---


@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_run_whose_ranks_are_killed_resumes_and_ends_the_same(rank, config, tmp_path):
    """One of them is killed, or all; rank 1 leaves the run where it is killed instead."""
    kill = AtCall("peclip.train.module:PEClipModule.training_step", 12, partial(send, signal.SIGKILL))
    before = kill if rank is None else OnRank(rank, kill)
    args = words(["fit", "--config", config, "--data.batch_size", 5, "--last.every_n_steps", 3])
    assert [result.status for result in in_ranks(tmp_path / "whole", args, 2)] == [0, 0]
    killed = in_ranks(tmp_path / "killed", args, 2, before, limit=LIMIT)
    assert all(result.status for result in killed)
    assert [result.status for result in in_ranks(tmp_path / "killed", [*args, "--ckpt_path", "last"], 2)] == [0, 0]
    runs = [tmp_path / name / "runs/tiny/version_0" for name in ("whole", "killed")]
    assert outcome(runs[0]) == outcome(runs[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("who", ["all", "first", "second"])
def test_a_signal_to_all_ranks_or_to_one_saves_and_ends_all(who, number, config, tmp_path):
    process, second = under_way(tmp_path, config)
    for pid in {"all": (process.pid, second), "first": (process.pid,), "second": (second,)}[who]:
        os.kill(pid, number)
    assert process.wait(LIMIT) == 143
    wait_until(lambda: gone(second))
    assert (tmp_path / "err").read_text() == "peclip: asked to end: resume with --ckpt_path last\n"
    saved = steps(tmp_path)
    shorter = ["--trainer.max_epochs", saved // 20 + 2, "--allow_changes", "true"]
    more = [*shorter, "--ckpt_path", "last", "--data.batch_size", 2]
    assert start(tmp_path, "fit", "--config", config, *TWO, *more).wait(300) == 0
    assert f"from step {saved}\n" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("who", ["first", "second"])
def test_a_killed_rank_ends_the_other_soon(who, config, tmp_path):
    process, second = under_way(tmp_path, config)
    os.kill({"first": process.pid, "second": second}[who], signal.SIGKILL)
    status = process.wait(LIMIT)
    wait_until(lambda: gone(second))
    lines = (tmp_path / "err").read_text().splitlines()
    if who == "first":
        assert (status, lines) == (-9, [])
    elif status == 2:
        assert lines == ["peclip: error: rank 1 of 2 was ended by SIGKILL: memory may have run out"]
    else:  # Lightning looks for dead ranks every five seconds, and was sooner
        assert (status, lines) == (-9, [])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_broken_clip_of_one_rank_ends_all_with_one_line(rank, tiny_clip, tmp_path):
    manifest = write_data(tmp_path / "data", {"train": 8, "test": 1})
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    batches = list(TrainSampler(24, 2, seed=0, rank=rank, world=2))
    broken = tmp_path / "data" / manifest.read_text().splitlines()[1 + batches[3][0].clip].split(",")[0]
    broken.write_bytes(broken.read_bytes()[:100])
    process = start(tmp_path, "fit", "--config", config, *TWO, "--data.batch_size", 2, "--data.val", 0)
    wait_until(lambda: process.poll() is not None or steps(tmp_path) >= 1)
    left = others(process) if process.poll() is None else []
    status = process.wait(LIMIT)
    wait_until(lambda: all(gone(other) for other in left))
    (line,) = (tmp_path / "err").read_text().splitlines()
    assert re.match(rf"peclip: error: {re.escape(str(broken))}.*manifest\.csv line \d+", line)
    assert status == 2 or (rank, status) == (1, -9)
