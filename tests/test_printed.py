"""Every command and every block of Python and YAML in README.md, CONTRIBUTING.md and docs/ works as it is printed.

They run in one folder, on small data and tiny models that stand in for those that they name (tests/printed). What cannot run
here is listed with the reason, and its options are read. Cheap commands run in ``make test``, all of them in ``make stress``.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import chdir
from importlib import import_module
from importlib.util import find_spec

import pytest
import yaml
from huggingface_hub import constants

from peclip import cli
from peclip.bench import input as bench_input
from peclip.bench import measure
from peclip.results.crossval import summarise, write_summary
from peclip.results.evaluation import read_evaluation
from peclip.testing import check_adapter
from peclip.train.cli.lightning import PEClipCLI
from peclip.train.several import FitOptions
from tests.lacking import YUNET, needs, needs_yunet
from tests.printed.blocks import ROOT, SHOWN, TRIED, blocks, is_script, lines
from tests.printed.stage import TRAINED, Stage, here, small_demo, tiny_hub
from tests.printed.things import THINGS
from tests.runs import blank_pictures, run, write_data

NOT_RUN = {
    r"make \w+": "sets up .venv first; .ci/run runs them",
    r"pip install .*": "fetches packages",
    r"sbatch .*": "needs SLURM; tests/test_cluster.py runs the script with stand-ins for it",
    r"(torchrun|MASTER_ADDR=).*": "needs several machines; tests/test_cluster.py has two on this one",
    r"(DATA=\S+ )?wandb (sweep|agent) .*": "needs an account at W&B; tests/test_cluster.py runs what an agent runs",
    r"peclip fit .*--trainer\.devices [248].*": "needs as many devices; tests/train/test_ranks.py trains on two",
    r"peclip download .*": "needs a network; tests/data/download has a server",
    r"peclip serve.*": "does not end by itself; below it is started",
    r"python benchmarks/.*": "measures for minutes",
    r"python examples/optuna_search.py .*": "trains 20 times; tests/test_examples.py runs it",
}
"""Command lines that are not run, and why."""

NEEDED = {
    r"peclip (recognize holiday|explain holiday|faces |cv --config ravdess ).*": ("YuNet", YUNET is not None),
    r".* --trainer.logger mlflow": ("MLflow", find_spec("mlflow") is not None),
}
"""Requirements of some command lines that not every computer meets, and whether this one does."""

CHEAP = r"peclip (check|compare|table|prepare (?!ravdess)|import|fit (--help|.*--print_config)|export \S+ --out \S+$)"
"""Command lines that run in `make test`."""

LINES = lines()
RUN = [line for line in LINES if not any(re.fullmatch(text, str(line)) for text in NOT_RUN)]
COMMANDS = [line for line in RUN if line.words[0] == "peclip"]
SCRIPTS = [line for line in RUN if line.words[0] == "python"]


def marked(line):
    """The line as a parameter: with the marks of what it takes."""
    marks = [
        pytest.mark.skipif(not present, reason=needs(what))
        for text, (what, present) in NEEDED.items()
        if re.fullmatch(text, str(line))
    ]
    return pytest.param(line, id=str(line), marks=marks if re.match(CHEAP, str(line)) else [*marks, pytest.mark.stress])


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with tiny_hub(tmp_path_factory.mktemp("hub")), small_demo():
        yield


@pytest.fixture(scope="module")
def stage(tmp_path_factory, hub):
    """A folder in which printed commands run, with runs that they have made themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_input, "SECONDS", 0.1)
        patch.setattr(measure, "SIDES", {"cpu": (64,)})
        yield Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def quick_stage(tmp_path_factory, hub, tiny_run):
    """A folder in which cheap commands run, with copies of one run."""
    stage = Stage(tmp_path_factory.mktemp("quick_stage"))
    for name in THINGS:
        if re.fullmatch(r"runs/\w+/(version_0|cv_0/fold_1)", name):
            shutil.copytree(tiny_run, stage.folder / name)
    crossval = stage.folder / "runs/dfew/cv_0"
    folds = {fold: shutil.copytree(tiny_run, crossval / f"fold_{fold}") for fold in (1, 2)}
    shutil.copy(tiny_run / "config.yaml", crossval)
    with blank_pictures():
        write_summary(crossval, summarise({fold: read_evaluation(run) for fold, run in folds.items()}, "dfew"))
        yield stage


class Understood(Exception):
    """Raised where the options of a command have been read."""


@pytest.fixture
def read_only(monkeypatch):
    """Commands end when their options have been read and found valid."""

    def understood(*_, **__):
        raise Understood

    def parse(*args):
        original(*args)
        raise Understood

    original = cli._parse
    monkeypatch.setattr(cli, "_parse", parse)
    for kind in (PEClipCLI, FitOptions):
        monkeypatch.setattr(kind, "before_instantiate_classes", understood)


def peclip_words(line, words):
    """The arguments of peclip in a command line that starts it, by itself or on a cluster; None where there are none."""
    if line.words[0] == "sbatch":
        return ["fit", *words[words.index("cluster/train.slurm") + 1 :]]
    if line.words[0] == "torchrun":
        return words[words.index("peclip") + 1 :]
    return words if line.words[0] == "peclip" else None


def check_other(line):
    """Check a command line that starts no peclip: what it names exists, and a script reads its options."""
    program, *words = line.words
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.findall(r"\w+", "".join(word for word in words if word.startswith(".[")))
        assert words[0] == "install"
        assert {*named} <= {*extras}
        assert "-c" not in words or (ROOT / words[words.index("-c") + 1]).is_file()
    elif program == "wandb":
        assert words[0] == "agent" or yaml.safe_load((ROOT / words[1]).read_text())["program"] == "peclip"
    else:
        assert program == "python"
        assert (ROOT / words[0]).is_file()


def read_once(lines):
    """The lines as parameters; slow are those of which earlier lines of the command have every recipe and option."""
    seen = {}
    for line in lines:
        known = {*re.findall(r"--[\w.]+|(?<=--config )\S+", str(line))}
        before = seen.setdefault(line.words[:2], set())
        marks = [pytest.mark.stress] if before and known <= before else []
        before |= known
        yield pytest.param(line, id=str(line), marks=marks)


@pytest.mark.parametrize("line", [*read_once(LINES)])
def test_a_printed_command_is_understood(line, quick_stage, read_only):
    quick_stage.provide("cluster/sharded.yaml")
    words = peclip_words(line, [here(word) for word in line.words[1:]])
    if words is None:
        check_other(line)
    elif not {"--help", "--print_config"} & {*words}:
        with chdir(quick_stage.folder), pytest.raises(Understood):
            cli.main(words)


@pytest.mark.parametrize("line", [marked(line) for line in COMMANDS])
def test_a_printed_command_works(line, request):
    cheap = re.match(CHEAP, str(line))
    result = request.getfixturevalue("quick_stage" if cheap else "stage").ran(line)
    assert result.status == 0, result.err
    assert "Traceback" not in result.err


@needs_yunet
@pytest.mark.stress
@pytest.mark.parametrize("line", [line for line in LINES if line.words[:2] == ("peclip", "serve")], ids=str)
def test_a_printed_server_loads_its_model(line, stage, monkeypatch):
    monkeypatch.setattr("peclip.inference.app.server.serve_page", lambda *_: 0)
    assert stage.ran(line).status == 0, stage.ran(line).err


@pytest.mark.stress
@pytest.mark.parametrize("line", SCRIPTS, ids=str)
def test_a_printed_script_runs(line, stage):
    stage.script(line)


# --- blocks ---

QUICK_PAGES = ("README.md", "docs/python.md", "docs/training.md")
"""Pages whose Python runs in ``make test``."""

PROGRAMS = {block.page: [] for block in blocks("python") if "7860" not in block.text}
for each in blocks("python"):
    PROGRAMS.get(each.page, []).append(each)


def write_shards(stage):
    """Write the shards that the page of training reads; the tiny run does not know all labels of the printed manifest."""
    stage.provide("mine.csv")
    words = [
        "--data.manifest",
        "mine.csv",
        "--data.predict",
        "all",
        "--data.other_labels",
        "skip",
        "--shards",
        "predictions",
    ]
    with chdir(stage.folder):
        result = run("predict", "--ckpt_path", "runs/ferv39k/version_0", *words)
    assert result.status == 0, result.err


@pytest.mark.parametrize(
    "page", [page if page in QUICK_PAGES else pytest.param(page, marks=pytest.mark.stress) for page in PROGRAMS]
)
def test_the_python_of_a_page_runs(page, request, monkeypatch):
    stage = request.getfixturevalue("quick_stage" if page in QUICK_PAGES else "stage")
    if page == "docs/training.md":
        write_shards(stage)
    code = "\n".join(block.text for block in PROGRAMS[page])
    for name in re.findall(r'"([^"\n]+)"', code):
        stage.provide(name)
    found = {"__name__": "printed"}
    with chdir(stage.folder):
        exec(code, found)  # noqa: S102 - that of the documents
    if page == "docs/training.md":
        assert {"path", "predicted", "happiness"} <= {*found["table"]}
    if page == "docs/python.md":
        assert tuple(found["logits"].shape) == tuple(found["zero_shot"].shape) == (1, 3)
        assert type(found["net"]).__name__ == "PEClip"
        assert found["trainer"].global_step == 3
        assert {"test/war", "test/uar"} <= {*found["scores"]}
    if page == "README.md":
        stage.provide("my_adapters")
        monkeypatch.syspath_prepend(str(stage.folder))
        check_adapter(import_module("my_adapters").Gate)


def with_yaml(block, stage):
    """Write a configuration of the documents, and return the command line of a training with it."""
    for name in ("my_adapters", "my_package", "/data/FERV39K"):
        stage.provide(name)
    (stage.folder / f"{block.number}.yaml").write_text(block.text)
    words = ["fit", "--config", "ferv39k", "--config", f"{block.number}.yaml", "--data.root", "data/FERV39K"]
    if labels := yaml.safe_load(block.text).get("model", {}).get("net", {}).get("texts"):
        words[-2:] = ["--data.manifest", str(write_data(stage.folder / "of_texts", labels=[*labels]))]
    return words


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_printed_configuration_is_understood(block, quick_stage, read_only, monkeypatch):
    monkeypatch.syspath_prepend(str(quick_stage.folder))
    with chdir(quick_stage.folder), pytest.raises(Understood):
        cli.main(with_yaml(block, quick_stage))


@pytest.mark.stress
@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_training_with_a_printed_configuration_runs(block, stage, monkeypatch):
    monkeypatch.syspath_prepend(str(stage.folder))
    words = with_yaml(block, stage)
    with chdir(stage.folder):
        result = run(*words, *(word for option in TRAINED.items() for word in option))
    assert result.status == 0, result.err


@pytest.fixture(scope="module")
def server(stage, hub):
    """The address of ``peclip serve`` in a process of its own."""
    pytest.importorskip("gradio", reason=needs("Gradio"))
    stage.provide("holiday.mp4")
    command = [sys.executable, "-m", "peclip", "serve", "--backbone", "demo", "--port", "0"]
    environment = os.environ | {"HF_HUB_CACHE": constants.HF_HUB_CACHE, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=stage.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[2]
        process.terminate()


@needs_yunet
@pytest.mark.stress
def test_the_printed_clients_of_the_server_are_answered(server, stage):
    clients = [block for block in (*blocks("bash"), *blocks("python")) if "127.0.0.1:7860" in block.text]
    assert {block.language for block in clients} == {"bash", "python"}
    assert {block for block in blocks("bash") if is_script(block)} <= {*clients}
    for block in clients:
        code = block.text.replace("http://127.0.0.1:7860", server)
        command = ["bash", "-euc", code] if block.language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=stage.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "event: complete" in done.stdout or "1 " in done.stdout
    assert (stage.folder / "recognized.zip").stat().st_size > 1000


def test_what_is_listed_is_printed():
    for text in NOT_RUN:
        assert any(re.fullmatch(text, str(line)) for line in LINES), text
    assert {block.language for block in blocks("")} == {*TRIED, *SHOWN}
    assert {*COMMANDS, *SCRIPTS} == {*RUN}
    assert len(COMMANDS) > 50
