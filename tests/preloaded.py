"""Imported by the server whose forks are the runs of tests: what a run imports in its first seconds, which costs each fork as long."""

import sys
from importlib import import_module

import_module("peclip.train.cli.command")

PANDAS_FOR_OPTIONS = "pandas" in sys.modules
"""Whether reading the options of a training imports pandas, which only the clips need."""

# None of them starts a thread, which no fork could go on with.
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
