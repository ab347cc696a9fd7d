"""Shared fixtures: no network, a tiny CLIP in a folder, the released checkpoint of the golden numbers.

The process that hands out the tests imports this, too, before it starts any worker: hence no torch up here.
"""

from __future__ import annotations

import gc
import json
import os
import warnings
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("MKL_CBWR", "AUTO")  # as the command does

import pytest

from peclip.data import forking
from tests import runs
from tests.backbones import loaded_once
from tests.lacking import summary
from tests.parsers import built_once
from tests.runs import trained, write_config, write_data

if TYPE_CHECKING:
    from torch import Tensor

# The runs that tests start are forks of one server for the whole session; it imports what a run needs.
forking.PRELOADED = ["tests.preloaded"]

LONGEST = (
    "stress/test_kills.py",
    "stress/test_kills_by_steps.py",
    "stress/test_kills_in_validation.py",
    "test_configs.py",
    "test_cli.py",
    "test_cluster.py",
    "test_trained_models.py",
    "train/test_lightning_options.py",
    "model/io/test_released.py",
    "bad_input/test_data.py",
    "train/test_cv.py",
    "test_notebooks.py",
    "model/io/test_onnx.py",
    "bad_input/test_options.py",
    "train/test_module.py",
    "model/test_blocks.py",
    "inference/test_recognizer.py",
    "inference/app/test_page.py",
    "train/test_ranks.py",
    "bench/test_bench.py",
    "stress/test_soak.py",
    "inference/test_memory.py",
    "data/test_forking.py",
    "test_other_classes.py",
)
"""Test files that take longest, the longest first."""

TOGETHER = {
    "Gradio": ("inference/app/", "train/test_private_hooks.py"),
    "ONNX": ("model/io/test_onnx.py", "model/io/test_export.py", "inference/test_join.py"),
    "the compiler": ("model/test_blocks.py", "model/fast/", "model/io/test_released.py", "model/test_one_token.py"),
    "runs that are killed": (
        "stress/test_kills",
        "stress/test_numbers.py",
        "test_cli.py",
        "test_cluster.py",
        "train/test_continued.py",
        "train/test_cv.py",
        "train/test_folders.py",
        "train/test_module.py",
        "train/test_start_model.py",
        "train/test_ranks.py",
        "train/test_resumed.py",
        "train/test_shards.py",
        "train/test_skipped.py",
    ),
    "other processes": (
        "bad_input/test_data.py",
        "bench/test_bench.py",
        "data/test_batch.py",
        "data/test_broken.py",
        "data/test_datamodule.py",
        "data/test_forking.py",
        "data/test_loader.py",
        "data/test_pack.py",
        "data/test_waiting.py",
        "inference/test_recognize.py",
        "inference/test_sources.py",
        "model/io/test_checkpoint.py",
        "stress/test_fuzz",
        "stress/test_million.py",
        "test_help.py",
        "test_parsers.py",
        "test_trained_models.py",
        "train/test_metrics.py",
        "train/test_peft_runs.py",
    ),
    "loggers": (
        "test_logger_options.py",
        "train/test_dashboard.py",
        "train/test_loggers.py",
        "test_configs.py::test_a_configuration_trains_and_does_what_its_name_says[configs/logging/",
    ),
}
"""Tests that share what takes seconds to start or to import, such as a server of processes: one process runs those of a group."""

GOLDEN = json.loads((Path(__file__).parent / "golden" / "pe_clip_small.json").read_text())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two cores: the tests that start processes wait for them a good part of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let nobody search for garbage while the tests are imported; see :func:`pytest_collection_finish`."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before the options deselect those that are marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left with one at the end; stress is slow, too."""
    for item in items:
        if item.get_closest_marker("stress"):
            item.add_marker("slow")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(file_of(item.nodeid), len(LONGEST)))


def file_of(nodeid: str) -> str:
    """Return the file of a test, as :data:`LONGEST` names it."""
    return nodeid.partition("::")[0].removeprefix("tests/")


def group_of(nodeid: str) -> str:
    """Return the group of tests that one process runs: that of :data:`TOGETHER`, or the file."""
    name = nodeid.removeprefix("tests/")
    return next((group for group, prefixes in TOGETHER.items() if name.startswith(prefixes)), file_of(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole groups of tests. The markers of xdist 3.8 for that have no effect with pytest 9.2, silently."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)


def pytest_collection_finish() -> None:
    """Use one thread, exempt what the imports have made from the search for garbage, and search seldom: a quarter of the time."""
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    gc.set_threshold(5000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Report a warning as the built-in one that its class descends from.

    To show one of Lightning, the process that hands out the tests would import Lightning.
    """
    kind = warning_message.category
    known = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    if kind is not known and issubclass(known, Warning):
        warning_message.category, warning_message.message = known, known(f"{kind.__name__}: {warning_message.message}")


@pytest.fixture(scope="session", autouse=True)
def _what_is_alike_is_made_once() -> Iterator[None]:
    with loaded_once(), built_once():
        yield


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random CLIP (2 + 2 blocks of width 32, 32-pixel frames) and a tokenizer of single letters."""
    return write_tiny_clip(tmp_path_factory.mktemp("tiny_clip"))


def write_tiny_clip(folder: Path, blocks: int = 2) -> Path:
    """Write the tiny CLIP, with so many blocks a tower, and its tokenizer into a folder, and return it."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(exist_ok=True)
    vocabulary = write_tokenizer(folder)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": blocks, "num_attention_heads": 2}
    text = {
        "max_position_embeddings": 160,
        "vocab_size": vocabulary,
        "eos_token_id": vocabulary - 1,
        "bos_token_id": vocabulary - 2,
    }
    config = CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 16}, text_config={**tower, **text}, projection_dim=24
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path) -> int:
    """Write a CLIP tokenizer without merges; return its vocabulary size."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 160, **special})
    )
    return len(tokens)


@pytest.fixture(scope="session")
def released_state() -> dict[str, Tensor]:
    """The golden weights in the released layout: a function of each parameter's name."""
    import torch

    state = {}
    for name, shape in GOLDEN["param_shapes"].items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        value = torch.randn(shape, generator=generator) * (0.15 if "adapter" in name else 0.04)
        if ("ln_" in name or "layer_norm" in name) and name.endswith("weight"):
            value += 1
        state[name] = value
    return state


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of 12 training and 6 test clips of three classes; not to be written to."""
    return write_data(tmp_path_factory.mktemp("tiny_data"))


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path, tiny_data: Path) -> Path:
    """The configuration of a run of two epochs with the tiny CLIP on the tiny data."""
    return write_config(tmp_path_factory.mktemp("tiny_config") / "tiny.yaml", tiny_clip, tiny_data)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> Path:
    """The folder of a run of the tiny configuration; not to be written to."""
    return trained(tmp_path_factory.mktemp("tiny_run"), "--config", tiny_config)


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the demo, which takes minutes: for tests marked slow; not to be written to."""
    return trained(tmp_path_factory.mktemp("demo_run"), "--config", Path(__file__).parents[1] / "configs/demo.yaml")


@pytest.fixture
def blank_pictures() -> Iterator[None]:
    """Pictures are blank: for tests of much else. Those of the tiny run, of tests/results and of tests of pictures are drawn."""
    with runs.blank_pictures():
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say last, in one line, what was skipped for lack of something, and how to provide it."""
    yield
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    if line := summary(reasons):
        terminalreporter.write_line(line)
