"""``peclip table`` on runs without a training."""

import csv
import io
import json
import os
from dataclasses import replace

import pytest
import yaml

from peclip.clip_format import ClipFormat
from peclip.results.crossval import summarise, write_summary
from peclip.results.evaluation import Limited, read_evaluation
from peclip.results.options import OptionChange, write_changes
from peclip.results.replicates import find_results
from peclip.results.selection import Seen
from tests.runs import few_calls, run
from tests.train.evaluations import outcomes, write_run

TRUTH = outcomes(90, 1)[0]


def options(seed=0, **model):
    return {"seed_everything": seed, "name": f"seed{seed}", "trainer": {"max_epochs": 2}, "model": {"net": {**model}}}


def write(folder, accuracy=0.8, seed=0, model=None, **known):
    """Write a run that has recognized about a share of the clips, with its options."""
    write_run(folder, TRUTH, outcomes(90, accuracy, seed=seed)[1], **known)
    (folder / "config.yaml").write_text(yaml.safe_dump(options(seed, **(model or {}))))
    return folder


def war(folder):
    return json.loads((folder / "metrics.json").read_text())["war"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Three seeds of one run, and one of another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for seed in range(3):
        write(
            tmp_path / f"runs/full/seed_{seed}",
            seed=seed,
            flops=2_345_678_901,
            seconds=60.0 + seed,
            method="ST-Adapter",
        )
    write(tmp_path / "runs/less/version_0", 0.5, model={"without": ["vision.mlp"]}, seconds=None, trainable=1234)
    return tmp_path


def rows(*args):
    """The rows of the table as csv."""
    result = run("table", *args, "--format", "csv")
    assert result.status == 0, result.err
    return list(csv.DictReader(io.StringIO(result.out)))


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


def test_seeds_are_one_row_with_mean_and_standard_deviation(runs):
    full, less = rows("runs")
    wars = [war(runs / f"runs/full/seed_{seed}") for seed in range(3)]
    mean = sum(wars) / 3
    assert (full["run"], full["runs"], full["seeds"]) == ("full/seed_*", "3", "0 1 2")
    assert float(full["war"]) == pytest.approx(mean)
    assert float(full["war_std"]) == pytest.approx((sum((each - mean) ** 2 for each in wars) / 2) ** 0.5)
    assert (full["trained_parameters"], full["parameters"], full["clips"]) == ("7714", "79587", "90")
    assert (full["flops_per_clip"], float(full["training_seconds"]), full["trained_on"]) == ("2345678901", 61.0, "cpu")
    assert (less["run"], less["runs"], less["war_std"], less["trained_parameters"]) == (
        "less/version_0",
        "1",
        "",
        "1234",
    )


def test_what_old_runs_lack_is_an_empty_cell_or_a_dash(runs):
    (less,) = rows("runs/less")
    assert (less["flops_per_clip"], less["training_seconds"], less["trained_on"]) == ("", "", "")
    (runs / "runs/less/version_0/config.yaml").unlink()
    (less,) = rows("runs/less")
    assert (less["runs"], less["seeds"]) == ("1", "")
    page = run("table", "runs/less", "--format", "markdown").out
    assert page.splitlines()[2].endswith("| 1,234 | - | - |")


def test_a_page_and_a_paper_show_percent_and_say_what_the_numbers_are(runs):
    full, less = rows("runs")
    shown = f"{100 * float(full['war']):.2f} ± {100 * float(full['war_std']):.2f}"
    page = run("table", "runs", "--format", "markdown").out
    assert f"| full/seed_* | ST-Adapter | 3 | 90 | {shown} |" in page
    assert "| 7,714 | 2.346 | 1 min 01 s |" in page
    assert "Mean ± standard deviation over runs that differ only in the seed." in page
    paper = run("table", "runs", "--format", "latex").out
    assert r"full/seed\_* & ST-Adapter & 3 & 90 & " + shown.replace("±", r"$\pm$") in paper
    assert paper.count(r" \\") == 3
    assert r"less/version\_0 & - & 1 & 90 & " + f"{100 * float(less['war']):.2f} & " in paper
    screen = run("table", "runs")
    assert (screen.status, screen.err) == (0, "")
    assert shown in screen.out


@pytest.mark.parametrize(("name", "start"), [("a.md", "| run"), ("b.csv", "run,method,runs"), ("c.tex", "% needs")])
def test_a_file_has_the_format_of_its_suffix(runs, name, start):
    result = run("table", "runs", "--out", name)
    assert (result.status, result.err) == (0, "")
    assert (runs / name).read_text().startswith(start)
    assert f"The table is in {name}" in result.out
    assert run("table", "runs", "--out", name, "--format", "markdown").status == 0
    assert (runs / name).read_text().startswith("| run")


def test_what_is_only_watched_otherwise_is_a_replicate_and_what_is_trained_otherwise_is_none(runs):
    for number, changed in enumerate(({"trainer": {"max_epochs": 2, "log_every_n_steps": 1}}, {"trainer": {}})):
        folder = write(runs / f"runs/full/seed_{8 + number}", seed=8 + number, flops=2_345_678_901)
        (folder / "config.yaml").write_text(yaml.safe_dump(options(8 + number) | changed))
    assert [row["seeds"] for row in rows("runs/full")] == ["0 1 2 8", "9"]


def test_runs_that_were_resumed_with_other_options_are_no_replicates(runs):
    longer = OptionChange(step=60, option="trainer.max_epochs", before=1, now=2)
    for seed, changes in ((4, [longer]), (5, [longer]), (6, [replace(longer, step=30)])):
        write_changes(write(runs / f"runs/full/seed_{seed}", seed=seed), changes)
    faster = OptionChange(step=60, option="data.num_workers", before=1, now=2)
    moved = OptionChange(step=40, option="data.manifest", before="a.csv", now=None)
    write_changes(write(runs / "runs/full/seed_7", seed=7), [faster, moved])
    assert [row["seeds"] for row in rows("runs/full")] == ["0 1 2 7", "4 5", "6"]


def test_numbers_that_are_too_large_are_unknown(runs):
    for seed in (10, 11):
        write(runs / f"runs/long/seed_{seed}", seed=seed, seconds=1e308, flops=10**400)
    assert "| unknown | unknown |" in run("table", "runs/long", "--format", "markdown").out


def test_a_method_from_elsewhere_and_a_name_that_is_not_utf_8_stay_texts(runs):
    write(runs / "runs/odd\udcff", method="=1+1", model={"without": ["text.mlp"]})
    assert run("table", "runs", "--out", "table.csv").status == 0
    assert {(row["run"], row["method"]) for row in rows("runs")} >= {(r"odd\udcff", "'=1+1")}
    assert r"odd\udcff,'=1+1," in (runs / "table.csv").read_text()


def test_no_row_of_a_paper_begins_with_what_latex_takes_for_an_argument(runs):
    lines = run("table", "runs", "--format", "latex").out.splitlines()
    assert sum(line.startswith("{}") for line in lines) == 3
    assert not [line for line in lines if line.startswith(("*", "["))]


def test_an_option_of_a_later_version_without_a_value_makes_no_other_row(runs):
    folder = write(runs / "runs/full/seed_3", seed=3)
    (folder / "config.yaml").write_text(yaml.safe_dump(options(3, peft=None)))
    assert [row["runs"] for row in rows("runs/full")] == ["4"]


def test_a_repeated_run_counts_once_and_a_seed_with_two_results_is_reported(runs):
    write(runs / "runs/full/again", seed=1)
    assert [row["seeds"] for row in rows("runs/full", "runs/full/seed_1", f"{runs}/runs/full/seed_2")] == ["0 1 2"]
    write_run(runs / "runs/full/other", TRUTH, TRUTH)
    (runs / "runs/full/other/config.yaml").write_text(yaml.safe_dump(options(1)))
    result = run("table", "runs/full")
    assert "seed 1 occurs more than once, with different results" in result.out
    assert "Counted once: runs/full/seed_1 (the same seed and result as runs/full/again)." in result.out


def test_patterns_links_and_evaluations_are_found_where_they_are_named(runs):
    assert [row["run"] for row in rows("runs/*/seed_[01]")] == ["runs/full/seed_*"]
    run_folder = runs / "runs/less/version_0"
    (run_folder / "checkpoints").mkdir()
    write(run_folder / "test_0", 0.6, trainable=1234, seconds=None)
    assert len(rows("runs/less")) == 1
    (named,) = rows("runs/less/version_0/test_0")
    assert (float(named["war"]), named["seeds"]) == (pytest.approx(war(run_folder / "test_0")), "0")
    os.symlink(runs, runs / "runs/circle")
    assert len(rows("runs")) == 2


def test_runs_are_found_in_folders_nested_deeper_than_calls_may_be(tmp_path):
    deepest = tmp_path.joinpath(*["a"] * 200)
    os.makedirs(deepest)
    write_run(deepest / "run", TRUTH, TRUTH)
    with few_calls():
        found = find_results([str(tmp_path)])
    assert found.results == (deepest / "run",)


def test_a_cross_validation_is_the_mean_of_its_folds_and_its_seeds_are_replicates(
    tmp_path, monkeypatch, blank_pictures
):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        folder = tmp_path / f"cv_{seed}"
        for fold in range(2):
            clips = slice(45 * fold, 45 * fold + 45)
            predicted = outcomes(90, 0.7, seed=10 * seed + fold)[1][clips]
            write_run(folder / f"fold_{fold}", TRUTH[clips], predicted, fold=fold, flops=7)
        folds = {fold: read_evaluation(folder / f"fold_{fold}") for fold in range(2)}
        write_summary(folder, summarise(folds, "many"))
        (folder / "config.yaml").write_text(yaml.safe_dump(options(seed)))
    (row,) = rows(".")
    wars = [war(tmp_path / f"cv_{seed}/fold_{fold}") for seed in range(2) for fold in range(2)]
    assert float(row["war"]) == pytest.approx(sum(wars) / 4)
    assert (row["run"], row["runs"], row["clips"], row["flops_per_clip"]) == ("cv_*", "2", "90", "7")
    assert float(row["training_seconds"]) == 90, "of a training, as for several seeds"


def test_runs_that_are_not_finished_are_omitted_and_named(runs):
    (runs / "runs/full/seed_7/checkpoints").mkdir(parents=True)
    result = run("table", "runs", "--format", "csv")
    assert result.out.count("\n") == 3
    assert "Not finished, omitted: runs/full/seed_7." in result.err
    assert_refused(run("table", "runs/full/seed_7"), "no finished run in runs/full/seed_7", "is not finished")


def test_what_readers_of_the_numbers_must_know_is_below_them(runs):
    short = {"limited": Limited(90, 900), "clip_format": ClipFormat(8), "model_format": ClipFormat(16)}
    write(runs / "runs/short", selection="test", **short)
    write(runs / "runs/no_test", split="validation", seen=Seen(70, 0, 84))
    write_run(runs / "runs/gpu", TRUTH[:60], TRUTH[:60])
    training = runs / "runs/gpu/training.json"
    training.write_text(json.dumps(json.loads(training.read_text()) | {"device": "GPU", "devices": 4}))
    page = run("table", "runs", "--format", "markdown").out
    assert "short: limited to 90 of 900 clips." in page
    assert "short: the checkpoint is chosen on the test clips (val: test)" in page
    assert "no_test: 70 of the 84 clips are training clips of this model." in page
    assert "no_test: the results are of the validation clips, which also choose the checkpoint" in page
    assert page.count("optimistic") == 2
    assert "Training times are of different devices: 4 x GPU, cpu." in page
    assert "not tested on the same number of clips" in page


def test_names_from_outside_stay_cells(runs):
    (runs / "runs/full").rename(runs / "runs/=1+1|&_\x1b[31m")
    page, paper = (run("table", "runs", "--format", kind).out for kind in ("markdown", "latex"))
    assert "\x1b" not in page + paper
    assert "| =1+1\\|&_\\x1b[31m/seed_* | ST-Adapter | 3 |" in page
    assert r"=1+1\textbar{}\&\_\textbackslash{}x1b[31m/seed\_* & ST-Adapter" in paper
    assert {row["run"] for row in rows("runs")} >= {r"./=1+1|&_\x1b[31m/seed_*"}  # on a screen no terminal obeys it
    assert run("table", "runs", "--out", "table.csv").status == 0
    assert "./=1+1|&_\x1b[31m/seed_*" in (runs / "table.csv").read_text()


def test_what_is_no_run_is_refused_in_one_line(runs):
    (runs / "empty").mkdir()
    assert_refused(run("table"), "runs")
    assert_refused(run("table", "nowhere"), "nowhere: no such folder")
    assert_refused(run("table", "no*"), "'no*' matches no folder")
    assert_refused(
        run("table", "empty"), "no finished run in empty, expected folders with metrics.json or results.json"
    )
    assert_refused(run("table", "runs", "--format", "html"), "format", "markdown", "html")
    assert_refused(
        run("table", "runs", "--out", "table.pdf"), "out table.pdf: expected a name that ends in .md, .csv or .tex"
    )
    (runs / "taken").write_text("")
    assert_refused(run("table", "runs", "--out", "taken/table.md"), "taken")
    (runs / "runs/less/version_0/metrics.json").write_text('{"war": 0.')
    assert_refused(run("table", "runs"), "runs/less/version_0/metrics.json cannot be read")


def test_rows_of_one_folder_have_names_that_tell_them_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write(
            tmp_path / f"runs/a/version_{number}",
            seed=number,
            model={"without": ["vision.mlp"]} if number > 1 else None,
        )
    names = [row["run"] for row in rows("runs/a")]
    assert names == ["version_0 and 1 more", "version_2 and 1 more"]
