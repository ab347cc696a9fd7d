"""Several devices and nodes: sharded weights, SLURM's environment, and the files in cluster/."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from peclip.errors import InputError
from peclip.recipes import read_recipes, recipe_path
from peclip.train.cluster.sharded import check_strategy
from tests.cluster import of_slurm
from tests.processes import AtCall, at_once, send
from tests.ranked import in_ranks
from tests.runs import run, write_config, write_data
from tests.wandb_files import ended_by_wandb, rows_of_wandb

CLUSTER = Path(__file__).parent.parent / "cluster"


@pytest.fixture(scope="module")
def options(tmp_path_factory, tiny_clip):
    """Two epochs of 3 steps of 4 clips, and 3 clips each to validate and to test, which cannot be distributed evenly to two ranks."""
    folder = tmp_path_factory.mktemp("data")
    manifest = write_data(folder, {"train": 4, "val": 1, "test": 1})
    config = write_config(folder / "config.yaml", tiny_clip, manifest)
    return ["fit", "--config", str(config), "--data.eval_batch_size", "1", "--model.warmup_epochs", "1"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, options):
    """The folder of the run of one process, as from the shell of an interactive SLURM job of two nodes."""
    folder = tmp_path_factory.mktemp("alone")
    (result,) = at_once(folder, [*options, "--folder", "run"], of_slurm(nodes=2, per_node=1, name="bash")[:1])
    assert result.status == 0, result.err
    return folder / "run"


def trained(run_folder, name="last"):
    return torch.load(run_folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def assert_same(first, second):
    """Two runs have trained the same and report the same; their checkpoints hold the same kinds of things."""
    for name in ("last", "best"):
        one, two = trained(first, name), trained(second, name)
        assert one.keys() == two.keys()
        for key, weight in one["state_dict"].items():
            torch.testing.assert_close(two["state_dict"][key], weight, atol=1e-4, rtol=0, msg=key)
        states = [content["optimizer_states"][0]["state"] for content in (one, two)]
        shapes = [{key: value["exp_avg"].shape for key, value in state.items()} for state in states]
        assert shapes[0] == shapes[1]
    assert json.loads((first / "metrics.json").read_text())["clips"] == 3
    assert (first / "confusion.csv").read_text() == (second / "confusion.csv").read_text()
    assert_same_metrics(first, second)


def assert_same_metrics(first, second, **other):
    """Two evaluations of weights that differ in rounding report the same; what is not counted differs in rounding, too."""
    one, two = (json.loads((folder / "metrics.json").read_text()) for folder in (first, second))
    assert two.pop("calibration") == pytest.approx(one.pop("calibration"), abs=1e-4)
    assert two == one | other


SHARDED = ["--model.sharded", "true", "--data.batch_size", "2"]


@pytest.mark.slow
def test_sharded_weights_train_like_copies_and_resume_unsharded_after_a_kill(options, alone, tmp_path):
    """Killed in the last of six steps, they resume within the second epoch: after the fifth, if that is on disk by then."""
    before = AtCall("peclip.train.module:PEClipModule.training_step", 6, partial(send, signal.SIGKILL))
    words = [*options, "--folder", "run", "--last.every_n_steps", "1"]
    killed = in_ranks(tmp_path, [*words, *SHARDED], 2, before)
    assert [result.status for result in killed] == [-signal.SIGKILL] * 2
    assert trained(tmp_path / "run")["global_step"] in (4, 5)
    (result,) = in_ranks(tmp_path, [*words, "--ckpt_path", "last"], 1)
    assert result.status == 0, result.err
    assert_same(alone, tmp_path / "run")


@pytest.mark.stress
@pytest.mark.parametrize("recipe", [name for name in read_recipes() if name.startswith("parts/")])
def test_parts_of_every_recipe_train_beside_sharded_weights(options, recipe, tmp_path):
    """The second run resumes from the checkpoint that the killed ranks have left."""
    words = [*options, "--config", str(recipe_path(recipe)), "--last.every_n_steps", "1"]
    (result,) = in_ranks(tmp_path, [*words, "--folder", "alone"], 1)
    assert result.status == 0, result.err
    before = AtCall("peclip.train.module:PEClipModule.training_step", 5, partial(send, signal.SIGKILL))
    killed = in_ranks(tmp_path, [*words, "--folder", "run", *SHARDED], 2, before)
    assert [result.status for result in killed] == [-signal.SIGKILL] * 2, killed
    (result,) = in_ranks(tmp_path, [*words, "--folder", "run", "--ckpt_path", "last"], 1)
    assert result.status == 0, result.err
    one, two = (trained(tmp_path / name)["state_dict"] for name in ("alone", "run"))
    assert one.keys() == two.keys()
    for key, weight in one.items():
        torch.testing.assert_close(two[key], weight, atol=1e-4, rtol=0, msg=key)
    assert (tmp_path / "alone/confusion.csv").read_text() == (tmp_path / "run/confusion.csv").read_text()


def test_an_evaluation_with_sharded_weights_counts_every_clip_once(options, alone, tmp_path):
    """One rank has two batches and the other has one."""
    words = ["test", *options[1:], *SHARDED, "--ckpt_path", str(alone), "--out", "out"]
    results = in_ranks(tmp_path, words, 2)
    assert [result.status for result in results] == [0, 0], results
    assert (tmp_path / "out/confusion.csv").read_text() == (alone / "confusion.csv").read_text()
    assert_same_metrics(alone, tmp_path / "out", model=str(alone))


def test_weights_are_not_sharded_on_one_device(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*options, "--model.sharded", "true")
    assert result.status == 2
    assert result.err.endswith(
        "model.sharded is true, but trainer.strategy is SingleDeviceStrategy with 1 of trainer.devices: set ddp and 2 or more, "
        "or sharded false\n"
    )


@pytest.mark.parametrize(("strategy", "sharded"), [(ModelParallelStrategy, False), (SingleDeviceStrategy, True)])
def test_strategies_that_cannot_be_are_refused(strategy, sharded):
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy), num_devices=2)
    with pytest.raises(InputError, match=f"trainer.strategy (is )?{strategy.__name__} .* set ddp"):
        check_strategy(trainer, sharded)


def test_ddp_is_accepted():
    check_strategy(SimpleNamespace(strategy=DDPStrategy(), num_devices=2), True)


# --- SLURM ---


@pytest.mark.slow
def test_tasks_of_two_slurm_nodes_train_together(options, alone, tmp_path):
    words = [
        *options,
        "--data.batch_size",
        "2",
        "--trainer.devices",
        "1",
        "--trainer.num_nodes",
        "2",
        "--folder",
        "run",
    ]
    results = at_once(tmp_path, [*words, "--ckpt_path", "last"], of_slurm(nodes=2, per_node=1))
    assert [result.status for result in results] == [0, 0], results
    assert [result.out.count("The run is in") for result in results] == [1, 0]
    assert_same(alone, tmp_path / "run")


def test_a_number_of_devices_that_is_not_slurms_is_refused_in_one_line(options, tmp_path):
    (result,) = at_once(tmp_path, [*options, "--trainer.devices", "1", "--trainer.num_nodes", "3"], of_slurm(2, 1)[:1])
    assert result.status == 2
    assert "`--nodes=2` does not match" in result.err.splitlines()[-1]


def test_nodes_that_do_not_know_where_to_meet_are_refused_at_once(options, tmp_path):
    variables = {"MASTER_ADDR": "10.0.0.1"}
    (result,) = at_once(tmp_path, [*options, "--trainer.devices", "1", "--trainer.num_nodes", "2"], [variables])
    assert result.status == 2
    last = result.err.splitlines()[-1]
    assert "trainer.num_nodes is 2, but nothing says where the nodes meet" in last
    assert "set MASTER_PORT, NODE_RANK on each node" in last
    assert not (tmp_path / "runs").exists()


def test_a_launcher_that_names_the_group_of_a_process_says_where_nodes_meet(options, tmp_path):
    node = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "GROUP_RANK": "0"}
    words = [*options, "--trainer.devices", "1", "--trainer.num_nodes", "2"]
    (result,) = at_once(tmp_path, words, [node], AtCall("lightning.pytorch:Trainer.fit", 1, sys.exit))
    assert "Waiting for the processes of 2 nodes" in result.out, result.err


def test_the_first_node_says_what_it_waits_for(options, tmp_path):
    node = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "0"}
    words = [*options, "--trainer.devices", "1", "--trainer.num_nodes", "2"]
    (result,) = at_once(tmp_path, words, [node], AtCall("lightning.pytorch:Trainer.fit", 1, sys.exit))
    assert result.out.splitlines()[-1] == "Waiting for the processes of 2 nodes at 127.0.0.1:29500"


def test_in_an_interactive_slurm_job_a_process_trains_alone(alone):
    assert json.loads((alone / "training.json").read_text())["devices"] == 1


@pytest.mark.parametrize(
    ("status", "requeued", "ends_with"), [(0, False, 0), (143, True, 0), (1, False, 1), (137, False, 137)]
)
def test_the_slurm_script_requeues_a_job_that_was_asked_to_end_and_no_other(status, requeued, ends_with, tmp_path):
    for name, code in (("srun", status), ("scontrol", 0)):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\nexit {code}\n')
        stub.chmod(0o755)
    variables = of_slurm(nodes=2, per_node=4)[0]
    environment = {**os.environ, **variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = ["bash", str(CLUSTER / "train.slurm"), "--config", "a b.yaml"]
    done = subprocess.run(script, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == ends_with, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    job = variables["SLURM_JOB_ID"]
    assert calls[0] == (
        "srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task=1 peclip fit --config a b.yaml --trainer.num_nodes 2 "
        f"--trainer.devices 4 --folder runs/slurm/{job} --ckpt_path last"
    )
    assert calls[1:] == ([f"scontrol requeue {job}"] if requeued else [])


def test_the_slurm_script_asks_for_a_signal_to_all_tasks_and_may_be_requeued():
    asked = [
        line.split(maxsplit=1)[1] for line in (CLUSTER / "train.slurm").read_text().splitlines() if "#SBATCH" in line
    ]
    assert "--requeue" in asked
    assert any(line.startswith("--signal=USR1@") for line in asked)


# --- Weights & Biases ---


@pytest.fixture
def of_agent(tmp_path):
    """Options that an agent passes to a run, and the values in them."""
    from wandb.sdk.launch.sweeps import utils as sweeps  # for seconds

    config = sweeps.load_sweep_config(str(CLUSTER / "sweep.yaml"))
    values = {
        name: {"value": entry.get("max", entry.get("values", [0])[-1])} for name, entry in config["parameters"].items()
    }
    variables = sweeps.create_sweep_command_args({"args": values})
    words = [
        word
        for entry in sweeps.create_sweep_command(config["command"])
        for word in (variables["args"] if entry == "${args}" else [entry])
    ]
    (tmp_path / "peclip").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "peclip").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "WANDB_RUN_ID": "abc", "DATA": "/my data"}
    asked = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    return asked, values


@pytest.mark.stress
def test_a_run_of_the_sweep_trains_in_its_own_folder(options, of_agent, tmp_path, monkeypatch):
    """The command is put together by wandb's own code from values that its controller would send."""
    asked, values = of_agent
    assert asked[:3] == ["fit", "--config", "dfew"]
    place = asked.index("--data.root")
    assert asked[place + 1] == "/my data"
    own = asked[asked.index("--folder") :]  # with the values of the sweep
    assert own[1] == "runs/sweep/abc"
    monkeypatch.chdir(tmp_path)
    short = ["--config", str(CLUSTER / "wandb.yaml"), "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    (result,) = at_once(tmp_path, [*options, *short, *own], [{"WANDB_RUN_ID": "abc"}])
    assert result.status == 0, result.err
    saved = yaml.safe_load((tmp_path / "runs/sweep/abc/config.yaml").read_text())
    assert saved["model"]["lr_adapters"] == values["model.lr_adapters"]["value"]
    assert list(tmp_path.glob("runs/wandb/offline-run-*-abc"))


@pytest.mark.stress
def test_a_run_of_the_sweep_that_was_killed_resumes_in_its_folder(options, of_agent, tmp_path):
    """W&B sends the same command again; its own server may send it to another agent."""
    asked, _ = of_agent
    own = [*options, "--config", str(CLUSTER / "wandb.yaml"), *asked[asked.index("--folder") :]]
    killed = AtCall("peclip.train.module:PEClipModule.training_step", 5, partial(send, signal.SIGKILL))
    (result,) = at_once(tmp_path, own, [{"WANDB_RUN_ID": "abc"}], killed)
    assert result.status == -signal.SIGKILL
    (result,) = at_once(tmp_path, own, [{"WANDB_RUN_ID": "abc"}], ended_by_wandb)
    assert result.status == 0, result.err
    assert [path.name for path in (tmp_path / "runs/sweep").iterdir()] == ["abc"]
    assert {path.name for path in tmp_path.glob("runs/wandb/offline-*/*.wandb")} == {"run-abc.wandb"}
    rows = rows_of_wandb(tmp_path / "runs")
    assert sorted(row.step for row in rows if "train/loss" in row.names) == [*range(6)]
    assert len({*rows}) == len(rows)
