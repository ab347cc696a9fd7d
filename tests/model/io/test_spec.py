from enum import IntEnum
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from peclip.errors import InputError
from peclip.model import PE_CLIP, Adapter, AdaptFormer, MaPLe, PEClip, SharedAdapter, TemporalDynamicAdapter
from peclip.model.io.spec import Spec, describe, resolve
from tests.model.small import LABELS, clips

TDA = Spec("peclip.model.TemporalDynamicAdapter", {"reduction": 4, "scope": "batch"})


def test_a_class_and_a_partial_are_described_by_import_path_and_arguments():
    assert describe(SharedAdapter) == Spec("peclip.model.SharedAdapter", {})
    assert describe(partial(TemporalDynamicAdapter, reduction=4, scope="batch")) == TDA


def test_what_is_described_can_be_built_again():
    adapter = resolve(TDA, Adapter)(32)
    assert isinstance(adapter, TemporalDynamicAdapter)
    assert (adapter.down.out_features, adapter.scope) == (8, "batch")
    assert describe(resolve(TDA, Adapter)) == TDA


def test_what_the_command_line_makes_is_described_too(tiny_clip):
    parser = ArgumentParser()
    parser.add_class_arguments(PEClip, "net")
    settings = {
        "labels": list(LABELS),
        "backbone": str(tiny_clip),
        "adapters": {
            "vision.mlp[1:]": {"class_path": "peclip.model.TemporalDynamicAdapter", "init_args": {"reduction": 4}},
            "text.mlp": {"class_path": "peclip.model.TextAdapter"},
        },
        "prompts": {"class_path": "peclip.model.MaPLe", "init_args": {"depth": 1}},
    }
    net = parser.instantiate(parser.parse_object({"net": settings})).net
    assert net.adapters["vision"]["mlp"]["1"].down.out_features == 8
    again = PEClip.from_trained(net.to_trained())
    with torch.no_grad():
        assert torch.equal(again(clips()), net(clips()))


@pytest.mark.parametrize(
    ("options", "adapters", "prompts"),
    [
        ([], [*PE_CLIP], Spec("peclip.model.MaPLe", {"length": 2, "depth": 2})),
        (["--net.prompts.init_args.length", "4"], [*PE_CLIP], Spec("peclip.model.MaPLe", {"length": 4, "depth": 2})),
        (["--net.prompts", "null", "--net.adapters", "{}"], [], None),
        (
            ["--net.adapters", "null", "--net.prompts.init_args.depth", "1"],
            [],
            Spec("peclip.model.MaPLe", {"length": 2, "depth": 1}),
        ),
        (
            ["--net.without", "[vision.mlp, text.mlp]", "--net.prompts", "null"],
            ["vision.attention", "text.attention"],
            None,
        ),
    ],
)
def test_the_command_line_starts_from_the_whole_model(tiny_clip, options, adapters, prompts):
    parser = ArgumentParser()
    parser.add_class_arguments(PEClip, "net")
    parsed = parser.parse_args(["--net.labels", str([*LABELS]), "--net.backbone", str(tiny_clip), *options])
    net = parser.instantiate(parsed).net
    assert [*net.config.adapters] == adapters
    assert net.config.prompts == prompts
    again = parser.instantiate(
        parser.parse_string(parser.dump(parsed, skip_none=False))
    ).net  # the configuration that a run saves
    assert (again.config.adapters.keys(), again.config.prompts) == (net.config.adapters.keys(), prompts)


def test_all_arguments_of_adapters_and_prompts_can_be_described():
    assert [describe(factory).class_path.rpartition(".")[2] for factory in PE_CLIP.values()] == [
        "SharedAdapter",
        "TemporalDynamicAdapter",
        "SharedAdapter",
        "TextAdapter",
    ]


@pytest.mark.parametrize("factory", [lambda width: SharedAdapter(width), partial(lambda width: width)])
def test_what_no_file_could_name_is_refused(factory):
    with pytest.raises(InputError, match=r"expected a class or functools.partial\(class, ...\)"):
        describe(factory)


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("os.system", "'os.system' is not an Adapter"),
        ("subprocess.Popen", "'subprocess.Popen' is not an Adapter"),
        ("builtins.exec", "'builtins.exec' is not an Adapter"),
        ("torch.nn.Linear", "'torch.nn.Linear' is not an Adapter"),
        ("peclip.model.MaPLe", "'peclip.model.MaPLe' is not an Adapter"),
        ("no_such_package.Adapter", "'no_such_package.Adapter' cannot be imported"),
        ("peclip.model.NoSuchAdapter", "cannot be imported: install the package that defines it"),
        ("SharedAdapter", "cannot be imported"),
        (".relative.Adapter", "cannot be imported"),
        ("../evil.Adapter", "cannot be imported"),
        ("", "cannot be imported"),
    ],
)
def test_a_path_that_names_no_adapter_is_refused_and_not_called(class_path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        resolve(Spec(class_path, {"command": "touch marker"}), Adapter)
    assert list(tmp_path.iterdir()) == []


def test_arguments_of_another_version_are_refused():
    with pytest.raises(InputError, match=r"SharedAdapter.* has other arguments: .*'strength'"):
        resolve(Spec("peclip.model.SharedAdapter", {"strength": 2}), Adapter)


@pytest.mark.parametrize("path", ["peclip.model.adapters.SharedAdapter", "peclip.model.prompts.MaPLe"])
def test_the_paths_in_files_of_the_first_version_still_name_adapters_and_prompts(path):
    kind = MaPLe if "prompts" in path else Adapter
    assert resolve(Spec(path, {}), kind).func.__name__ == path.rpartition(".")[2]


def inside():
    class Inside(SharedAdapter):
        pass

    return Inside


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (inside(), "define the class at the top of a module, not inside something else"),
        (
            partial(SharedAdapter, init=SharedAdapter),
            "SharedAdapter: init is .*, which a package of peclip does not hold",
        ),
        (
            partial(SharedAdapter, reduction=torch.ones(2)),
            "SharedAdapter: reduction is .*, which a package of peclip does not hold",
        ),
    ],
)
def test_what_no_file_could_hold_is_refused_before_the_training(adapter, message):
    with pytest.raises(InputError, match=message):
        describe(adapter)


def test_numbers_of_numpy_are_numbers(tiny_clip, tmp_path):
    adapters = {"vision.mlp": partial(AdaptFormer, hidden=np.int64(8), scale=np.float64(0.2))}
    net = PEClip(LABELS, str(tiny_clip), adapters=adapters)
    net.save_pretrained(tmp_path / "package")
    assert PEClip.from_pretrained(tmp_path / "package").config.adapters == net.config.adapters


class Point(NamedTuple):
    x: int
    y: int


def test_named_tuples_are_tuples_and_members_of_enumerations_are_refused():
    assert describe(partial(SharedAdapter, init=Point(1, 2))).init_args == {"init": (1, 2)}
    with pytest.raises(InputError, match="which a package of peclip does not hold"):
        describe(partial(SharedAdapter, reduction=IntEnum("Few", "one two").one))
