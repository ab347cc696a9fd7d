"""Imported by the server whose forks are the runs of tests: what a run imports in its first seconds, which costs each fork as long."""

import sys
from importlib import import_module

import pytest

from tests.parsers import built_once
from tests.runs import run

import_module("peclip.train.cli.command")

PANDAS_FOR_OPTIONS = "pandas" in sys.modules
"""True if reading the options of a training imports pandas, which only the clips need."""

# None of them starts a thread, which no fork would have.
for name in (
    "PIL.JpegImagePlugin",
    "einops._torch_specific",
    "pandas",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "pytest",
    "tests.processes",
    "torch.profiler",
    "torch.utils.flop_counter",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
):
    import_module(name)

BUILT = built_once()
"""Parsers that the server has built, with which forks read their options: that is a fifth of a short run."""

BUILT.__enter__()
with pytest.MonkeyPatch.context() as patch:
    # Each fork decides for itself whether it does this.
    patch.setattr("peclip.train.cli.command.keep_freed_memory", lambda: None)
    for subcommand in ("fit", "predict", "test"):
        assert run(subcommand, "--print_config").status == 0
