"""The values that a command line and its configurations name, read before the parser is built."""

import pytest

from peclip.train.cli.arguments import names_config, names_module


@pytest.mark.parametrize(
    ("value", "is_named"),
    [
        ("own.Module", True),
        ("own.yaml", True),
        ("{class_path: own.Module}", True),
        ("rates.yaml", False),
        ("null", False),
    ],
)
def test_a_module_of_ones_own_is_named_by_its_class_or_in_a_file(value, is_named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("class_path: own.Module\n")
    (tmp_path / "rates.yaml").write_text("lr_adapters: 1e-3\n")
    assert names_module(["--model", value]) is is_named
    (tmp_path / "run.yaml").write_text("name: x\n")
    assert names_module(["--config", "run.yaml", f"--model={value}"]) is is_named


@pytest.mark.parametrize("args", [["--config", "a"], ["--config=a"], ["-c", "a"], ["-c=a"], ["-ca"]])
def test_a_configuration_is_named_in_every_way_to_write_the_option(args):
    assert names_config(args)
    assert not names_config(["--name", "a"])
