"""The notebooks run from a clean kernel as they are shipped, and are shipped with the outputs of such a run."""

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.processes import called

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["own_video.ipynb", "quickstart.ipynb"]


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_of_one_run_from_the_first_cell_to_the_last_are_stored(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert (
        {"stream", "execute_result"}
        <= {output["output_type"] for output in outputs}
        <= {"stream", "execute_result", "display_data"}
    )
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.get("name") != "stderr" for output in outputs)
    assert not re.search(r"/(?:tmp|home|root|Users)/", json.dumps([output.get("text", "") for output in outputs]))


def test_the_stored_training_makes_things_better():
    cells = code_cells(NOTEBOOKS[1])
    printed = "".join(
        text for cell in cells for output in cell["outputs"] for text in output.get("data", {}).get("text/plain", "")
    )
    trained, zero_shot = map(float, re.search(r"^WAR +(\S+) +(\S+)$", printed, re.MULTILINE).groups())
    assert zero_shot <= 0.55
    assert trained >= 0.9


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_probabilities_are_calibrated_as_those_of_the_commands_are(path):
    assert not any(".softmax(" in line for cell in code_cells(path) for line in cell["source"])


SHORT = {r"train=100, test=\d+": "train=6, test=1", r"trainer\.max_epochs=4": "trainer.max_epochs=1"}
"""Patterns that shorten a minute's training of a notebook to seconds, and what replaces them."""


def run_cells(path):
    """Run the code of a notebook as its kernel does, up to the first cell that fails, with a short training."""
    os.environ["COLUMNS"] = "115"  # of rich in a notebook
    tempfile.tempdir = str(Path.cwd())  # a notebook leaves the folder that it makes
    interpreter = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    sources = ["".join(cell["source"]) for cell in code_cells(path)]
    for long, short in SHORT.items():
        assert any(re.search(long, source) for source in sources)
        sources = [re.sub(long, short, source) for source in sources]
    for source in sources:
        interpreter.run_cell(source).raise_error()


OF_THE_MODEL = re.compile("GFLOPs|parameters|Adapter|MaPLe")
"""Lines whose numbers are those of the model, however it is trained."""


def said(text):
    """The words of each line without the numbers that a short training changes, as it changes what is said of single answers."""
    text = re.sub(r"\x1b\[[\d;]*m|<Figure.*>|Out\[\d+\]:|[^\w\n.,:;%+()/<>-]", " ", text)
    lines = {
        " ".join((line if OF_THE_MODEL.search(line) else re.sub(r"[\d.,]+(e[+-]\d+)?", "0", line)).split())
        for line in text.splitlines()
    }
    return {
        line
        for line in lines
        if line and not re.match(r"peclip: caution|shown:|checkpoints/previous|Calibration error", line)
    }


def shown(output):
    """The text of an output that is stored."""
    return "".join(output.get("text", output.get("data", {}).get("text/plain", ""))) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run_one_after_the_other(path, tmp_path):
    before = sorted(path.parent.rglob("*"))
    result = called(tmp_path, partial(run_cells, path))
    assert result.status == 0, result.out + result.err
    stored = "".join(shown(output) for cell in code_cells(path) for output in cell["outputs"])
    assert said(stored) == said(result.out)  # the words of today
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.stress
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_a_clean_kernel(path, tmp_path):
    before = sorted(path.parent.rglob("*"))
    options = ["--nbmake", "--nbmake-timeout=600", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, path]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert sorted(path.parent.rglob("*")) == before
