"""Write configurations so that the parser reads the same values again."""

import re
from typing import Any

import torch
import yaml
from jsonargparse import set_dumper
from jsonargparse.typing import register_type


class Dumper(yaml.SafeDumper):
    """Dumper that also quotes texts such as ``1e3``, which the parser, unlike PyYAML, would read as numbers."""


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+.]?\d[\d_.]*[eE][-+]?\d+$"), list("-+.0123456789")
)


def dump(options: Any) -> str:
    """Return options as YAML, in their order."""
    return yaml.dump(options, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def dump_in_one_line(options: Any) -> str:
    """Return options as YAML in one line, a value of ``--config``."""
    line = yaml.dump(options, Dumper=Dumper, sort_keys=False, default_flow_style=True, width=float("inf"))
    return line.rstrip()


set_dumper("yaml", dump)
register_type(torch.device)  # the default of an argument of StochasticWeightAveraging
