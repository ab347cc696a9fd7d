"""The scripts in benchmarks/: what they derive from their measurements is right."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from peclip.recipes import read_recipes
from peclip.results.scores import scores
from tests.lacking import needs
from tests.train.evaluations import LABELS, outcomes, write_run

SCRIPTS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import a script as python benchmarks/NAME.py does."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield __import__
    for path in SCRIPTS.glob(
        "*.py"
    ):  # names as short as theirs are not to stay; torch, which is imported once a process, is
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(script, power):
    values = (8, 16, 32, 64)
    assert script("growth").exponent(values, [3 * value**power for value in values]) == pytest.approx(power)


def test_figures_of_several_rounds_become_one(script):
    rounds = [
        {"step_seconds": {"median": step, "min": step - 1}, "memory_bytes": {"step": size, "total": 2 * size}}
        for step, size in ((3.0, 5), (2.0, 7), (9.0, 6))
    ]
    found = script("fresh").together(rounds)
    assert (found["step"], found["fastest"], found["memory"], found["process_memory"]) == (3.0, 1.0, 7, 14)


def test_a_measurement_that_fails_says_why(script):
    with pytest.raises(SystemExit, match="batch_size: expected int"):
        script("fresh").measured(script("fresh").peclip("eval", batch_size="few"))


def test_commands_of_bench_leave_out_what_is_not_given(script):
    words = script("fresh").peclip("train", classes=7, out=None)
    assert words == ["-m", "peclip", "bench", "train", "--classes", 7]


THIRD = scores(np.full((3, 3), 10), LABELS)
ACCURACIES = {"full": 0.9, "no_tda": 0.4, "no_sha": 0.88, "no_ta": 0.8, "no_maple": 0.7}


@pytest.fixture
def trainings(tmp_path):
    """A folder where the ablations of three seeds are finished but for one training."""
    for seed in range(3):
        for place, (name, accuracy) in enumerate(ACCURACIES.items()):
            if (name, seed) != ("no_maple", 1):
                folder = tmp_path / f"{name}_seed{seed}" / "version_0"
                write_run(folder, *outcomes(300, accuracy, seed=10 * seed + place), zero_shot=THIRD)
    return tmp_path


def test_every_part_and_ablation_of_the_demo_is_a_recipe_and_in_a_table(script):
    tables = script("demo_table").TABLES
    recipes = {kind: {each.options[1] for each in variants[1:]} for kind, variants in tables.items()}
    shipped = {*read_recipes()}
    assert recipes["ablations"] == {f"ablations/{name}" for name in ACCURACIES} - {"ablations/full"}
    assert recipes["ablations"] <= shipped
    assert recipes["parts"] == {name for name in shipped if name.startswith("parts/")} - {"parts/norms"}


def test_the_table_of_ablations_has_means_costs_and_intervals_over_clips_and_seeds(trainings, script):
    module = script("demo_table")
    full, tda, sha, *_ = rows = module.table(trainings, module.TABLES["ablations"], [0, 2])
    for row, accuracy in zip(rows, ACCURACIES.values(), strict=True):
        assert row.war == pytest.approx(100 * accuracy, abs=4)
        assert row.low < row.war < row.high
        assert row.high - row.low < 20
    assert full.cost is None
    assert tda.cost[0] == pytest.approx(full.war - tda.war)
    assert tda.cost[0] - 10 < tda.cost[1] < tda.cost[0] < tda.cost[2] < tda.cost[0] + 10
    assert sha.cost[1] < 0 < sha.cost[2]


def test_only_seeds_with_all_variants_are_in_the_table(trainings, script, capsys):
    module = script("demo_table")
    module.show(trainings, module.TABLES["ablations"], 3)
    assert "Seeds 0, 2; zero-shot CLIP 33.3 %." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no seed for which all variants are finished"):
        module.show(trainings / "nothing", module.TABLES["ablations"], 3)


def test_what_fewer_bits_change_is_printed(script, capsys):
    pytest.importorskip("onnxruntime", reason=needs("ONNX"))
    bits, logits = script("fewer_bits"), np.array([[4.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    exact = bits.Answers(logits, 2.0)
    found = bits.Answers(np.add(logits, [[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), 1.0, 3.0)
    bits.show({"torch, fp32": exact, "torch, int8": found}, exact, np.array([0, 0, 1]), 2.0)
    *_, line = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| torch"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["torch, int8", "3.0 MB", "3.3e-01", "2.0e+00", "2.4e-01", "66.7%", "100.0%", "0.50"]


def test_checkouts_are_compared_by_logits_and_gradients_if_their_weights_are_the_same(script):
    differences = script("checkouts").differences
    before = {
        "a": torch.tensor([1.0, -4.0]),
        "b": torch.ones(2),
        "logits": torch.tensor([2.0]),
        "weights": torch.ones(1),
    }
    after = before | {"a": torch.tensor([1.5, -4.0]), "logits": torch.tensor([2.5])}
    line = "logits differ by at most 2.5e-01 of the largest, the 2 gradients by 1.2e-01 of the largest of their own (a)"
    assert differences(before, after) == f"values in fp32: {line}"
    with pytest.raises(SystemExit, match="have other weights"):
        differences(before, after | {"weights": torch.zeros(1)})
