"""Trainings with several seeds: one command, one table, and the same command resumes."""

import shutil
from pathlib import Path

import pytest

from peclip.results.options import read_options
from tests.runs import run

SHORT = ("--trainer.max_epochs", "1", "--model.zero_shot", "false", "--data.num_workers", "0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_config):
    """The runs of two seeds, and what the command printed."""
    folder = tmp_path_factory.mktemp("seeds") / "runs"
    result = run("fit", "--config", tiny_config, *SHORT, "--folder", folder, "--seed_everything", "5", "--seeds", "2")
    assert (result.status, result.err) == (0, ""), result.err
    return folder, result.out


def again(folder, config, *options):
    return run("fit", "--config", config, *SHORT, "--folder", folder, "--seed_everything", "5", *options)


def test_every_seed_is_a_run_of_its_own_and_a_row_of_the_table_has_them_all(runs):
    folder, printed = runs
    assert [path.name for path in sorted(folder.glob("[!.]*"))] == ["seed_5", "seed_6"]
    assert [read_options(folder / f"seed_{seed}")["seed_everything"] for seed in (5, 6)] == [5, 6]
    assert "Mean ± standard deviation over runs that differ only in the seed." in printed


def test_the_same_command_keeps_what_is_finished_and_trains_the_rest(runs, tiny_config, tmp_path):
    folder = shutil.copytree(runs[0], tmp_path / "runs")
    shutil.rmtree(folder / "seed_6")
    before = (folder / "seed_5/metrics.json").stat().st_mtime_ns
    result = again(folder, tiny_config, "--seeds", "2")
    assert result.status == 0, result.err
    assert "Seed 6" in result.out
    assert "Seed 5" not in result.out
    assert (folder / "seed_5/metrics.json").stat().st_mtime_ns == before
    assert (folder / "seed_6/predictions.csv").read_text() == (runs[0] / "seed_6/predictions.csv").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seeds", "0"), "--seeds is '0', expected a number of seeds from 1 to 1,000"),
        (("--seeds=many",), "--seeds is 'many', expected a number of seeds from 1 to 1,000"),
        (("--seeds",), "--seeds is '', expected a number of seeds from 1 to 1,000"),
        (("--seeds", "2", "--ckpt_path", "last"), "ckpt_path belongs to one run"),
        (("--seeds", "2", "--trainer.logger", "false"), "trainer.logger false leaves no results"),
        (("--seeds", "2", "--model.lr_adapters", "0.5"), "seed_5 has model.lr_adapters"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(runs, tiny_config, options, says):
    result = again(runs[0], tiny_config, *options)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err


def test_the_number_of_seeds_belongs_to_the_command_line(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("more.yaml").write_text("seeds: 2\n")
    result = run("fit", "--config", tiny_config, "--config", "more.yaml")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "set it there with --seeds" in result.err


def test_a_mistake_in_the_first_run_leaves_no_folder(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, "--data.manifest", "nowhere.csv", "--seeds", "2")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []
