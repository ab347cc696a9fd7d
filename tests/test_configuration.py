"""Configurations are regular files of bounded size, and YAML that is neither deep, nor a bomb, nor ambiguous."""

import itertools
import os
import re
import time
from pathlib import Path

import pytest
import yaml

from peclip.configuration import LIMIT, Loader, load, read_configuration
from peclip.data.media.budget import _MARKER
from peclip.errors import InputError
from peclip.train.cli.arguments import IMPORT_PATH

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {k: x}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))

SAYS_SO_ITSELF = tuple(map(int, yaml.__version__.split(".")[:3])) >= (6, 0, 4)
NESTED = (
    f"line 1: {'not valid YAML, exceeded maximum nesting depth' if SAYS_SO_ITSELF else 'nested deeper than 40 levels'}"
)

REFUSED = {
    "lists in lists": ("a: " + "[" * 100_000, NESTED),
    "lists in lists, in lines": ("- " * 100_000 + "x", "line 1: nested deeper than 40 levels"),
    "mappings in mappings": ("{a: " * 100_000, "line 1: nested deeper than 40 levels"),
    "keys of keys": ("? " * 100_000 + "x", "line 1: a key is a list or a mapping, expected a name"),
    "a bomb of lists": (BOMB, "line 6: more than 200,000 values, with those that aliases repeat"),
    "a bomb of merged mappings": (MERGES, "more than 200,000 values"),
    "many values": ("a: [" + "1," * 250_000 + "]", "more than 200,000 values"),
    "a list in itself": ("a: 1\nb: &b [*b]", "line 2: alias *b names nothing before it, or itself"),
    "an alias of nothing": ("a: *b", "line 1: alias *b names nothing before it, or itself"),
    "a key that is a list": ("? [a]\n: 1", "line 1: a key is a list or a mapping"),
    "a key twice": ("name: x\ntrainer:\n  max_epochs: 1\n  max_epochs: 2", "line 4: duplicate key 'max_epochs', first in line 3"),
    "a key twice in a line": ("trainer: {max_epochs: 1, max_epochs: 2}", "duplicate key 'max_epochs', first in line 1"),
    "a key twice, once in quotes": ("texts: {1: a, '1': b}", "duplicate key '1'"),
    "an object": ("a: !!python/object/apply:os.getcwd []", "line 1: not valid YAML, could not determine a constructor"),
    "two documents": ("a: 1\n---\na: 2", "line 2: not valid YAML, but found another document"),
    "bytes": (b"\xff\xfea", "not valid YAML"),
    "a null byte": (b"a: \x00", "not valid YAML"),
    "a list alone": ("[a, b]", "expected options, such as name, trainer, model and data"),
    "nothing": ("", "expected options"),
    "a tag that is not kept": ("a: !!int many", "not what its tag says (invalid literal for int"),
    "a switch that is none": ("a: !!bool perhaps", "not what its tag says ('perhaps')"),
    "a date that is none": ("a: !!timestamp today", "not what its tag says"),
    "too much": ("#" * (LIMIT + 1), "has more than 2,000,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_yaml_that_is_hostile_or_ambiguous_is_refused_at_once(case, tmp_path):
    content, says = REFUSED[case]
    path = tmp_path / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    with pytest.raises(InputError) as refused:
        read_configuration(path)
    assert str(refused.value).startswith(str(path))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("look", "text"),
    [
        *(
            (pattern.match, "1" * 100_000 + end)
            for _, pattern in Loader.yaml_implicit_resolvers["1"]
            for end in ("x", ".x", "e")
        ),
        (IMPORT_PATH.search, "a" * 100_000),
        (IMPORT_PATH.search, "1" * 100_000),
        (_MARKER.search, b"\xff" * 100_000 + b"\0"),
    ],
)
def test_long_texts_from_files_are_searched_in_one_pass(look, text):
    start = time.process_time()
    assert look(text) is None
    assert time.process_time() - start < 0.2


def test_numbers_with_an_exponent_are_those_that_they_were():
    before = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
    (now,) = [
        each for tag, each in Loader.yaml_implicit_resolvers["1"] if "eE" in each.pattern and tag.endswith("float")
    ][-1:]
    texts = ["".join(letters) for size in range(6) for letters in itertools.product("1_.e-", repeat=size)]
    assert [text for text in texts if now.match(text)] == [text for text in texts if before.match(text)]


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "real.yaml").write_text("name: x")
    (tmp_path / "good").symlink_to("real.yaml")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: not a regular file, expected a YAML file"):
            read_configuration(path)
    assert read_configuration(tmp_path / "good") == {"name": "x"}


@pytest.mark.parametrize("key", ["0", "1", "yes", "No", "null", "~", "1e3", "0x10", "1_000", "2020-01-01", "1:30", "<"])
def test_keys_are_text(key):
    assert load(f"texts:\n  {key}: x") == {"texts": {key: "x"}}
    assert load(f"{{'{key}': {{{key}: 1}}}}") == {key: {key: 1}}
    assert load(yaml.safe_dump({key: {key: 1}})) == {key: {key: 1}}


def test_values_are_those_of_yaml_but_dates_are_text_and_numbers_may_have_exponents_alone():
    content = "[1, 1.5, 1e-3, 1E3, .5, 5., 0x10, yes, off, null, ~, x, '1', 2020-01-01, -1e2]"
    found = load(content)
    assert found == [1, 1.5, 1e-3, 1e3, 0.5, 5.0, 16, True, False, None, None, "x", "1", "2020-01-01", -100.0]
    assert found.texts == [text.strip(" '") for text in content.strip("[]").split(",")]


@pytest.mark.parametrize(
    "text", ["1e3", "1E-3", ".5e1", "1.e2", "0", "no", "null", "~", "2020-01-01", "1:30", "0x10", "<<", "="]
)
def test_text_and_numbers_are_read_as_they_were_written(text):
    content = {"labels": [text, 1e-05, 1000.0, 3], text: [text]}
    assert load(yaml.safe_dump(content)) == content


def test_anchors_and_merged_mappings_are_allowed():
    assert load("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
