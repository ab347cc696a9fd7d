import argparse
import builtins
import io
import os
import pathlib
import random
import subprocess
import zipfile
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from peclip.errors import InputError
from peclip.model.torch_file import read_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.ones(3, dtype=torch.float16)}


class Recorder:
    """An object like the one that the released program pickles beside the weights, with arrays in it."""

    built = 0

    def __init__(self):
        self.epoch_accuracy, self.best = np.zeros((5, 2)), np.float64(0.5)
        self.table, self.me = defaultdict(list, losses=[1.0, 2.0]), self

    def __setstate__(self, state):
        Recorder.built += 1


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def check(path):
    read = read_tensors(path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(value, read[name]) and value.dtype == read[name].dtype for name, value in TENSORS.items())


@pytest.mark.parametrize("state", [TENSORS, OrderedDict(TENSORS)], ids=["dict", "ordered"])
@pytest.mark.parametrize("nested", [True, False])
def test_tensors_are_read_with_or_without_a_checkpoint_around_them(tmp_path, state, nested):
    torch.save({"epoch": 3, "state_dict": state} if nested else state, tmp_path / "a.pth")
    check(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "foreign",
    [
        Recorder(),
        np.arange(3),
        np.float32(1),
        defaultdict(list, a=[1]),
        argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/data")),
        [Recorder(), {"deep": (Recorder(), Recorder)}],
        print,
        torch.nn.Linear(2, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_objects_are_dropped_and_never_built(tmp_path, foreign):
    torch.save({"state_dict": TENSORS | {"odd": foreign}, "recorder": foreign}, tmp_path / "a.pth")
    built = Recorder.built
    check(tmp_path / "a.pth")
    assert Recorder.built == built


def test_what_stood_in_for_a_foreign_class_is_forgotten(tmp_path):
    torch.save({"state_dict": TENSORS, "recorder": Recorder()}, tmp_path / "a.pth")
    before = torch.serialization.get_safe_globals()
    check(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == set(before)


def attacks(marker):
    write = f"open({str(marker)!r}, 'w').close()"
    return {
        "exec": Call(exec, write),
        "eval": Call(eval, write),
        "import": Call(builtins.__import__, "antigravity"),
        "open": Call(open, str(marker), "w"),
        "subprocess": Call(subprocess.check_call, ["touch", str(marker)]),
        "torch": Call(torch.load, str(marker)),
        "nested": Call(getattr, Call(builtins.__import__, "os"), "system"),
        "os.system": Call(os.system, f"touch {marker}"),
        "os.mkdir": Call(os.mkdir, str(marker)),
    }


@pytest.mark.parametrize("kind", sorted(attacks(pathlib.Path())))
@pytest.mark.parametrize("place", ["beside", "within", "instead"])
def test_a_pickle_that_calls_functions_runs_none_of_them(tmp_path, kind, place):
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    attack = attacks(marker)[kind]
    content = {
        "beside": {"state_dict": TENSORS, "recorder": attack},
        "within": {"state_dict": TENSORS | {"x": attack}},
        "instead": attack,
    }
    torch.save(content[place], path)
    refused = place == "instead" or kind.startswith("os.")  # the latter PyTorch itself refuses, by name
    if refused:
        with pytest.raises(InputError) as caught:
            read_tensors(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value), "no advice to read the file unsafely"
    else:
        check(path)
    assert not marker.exists()


def test_the_attacks_work_on_an_unsafe_reader(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    for kind in ("exec", "open", "subprocess", "os.system", "os.mkdir"):
        torch.save(attacks(marker)[kind], path)
        torch.load(path, weights_only=False)
        assert marker.exists(), kind
        marker.rmdir() if marker.is_dir() else marker.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "refused, not a checkpoint"),
        (b"hello\n", "refused, not a checkpoint"),
        (b"PK\x03\x04 torn", "refused, not a checkpoint"),
        ([1, 2], "holds no state_dict of tensors"),
        ({"state_dict": {}}, "holds no state_dict of tensors"),
        ({"state_dict": [TENSORS]}, "holds no state_dict of tensors"),
        ({"epoch": 3}, "holds no state_dict of tensors"),
        (torch.ones(3), "holds no state_dict of tensors"),
        ({1: torch.ones(3)}, "holds no state_dict of tensors"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "says"), [("missing.pth", "no such file"), (".", "is a folder")])
def test_file_that_is_not_there_is_named(tmp_path, name, says):
    with pytest.raises(InputError, match=f"{says}, expected a released PE-CLIP checkpoint"):
        read_tensors(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_spoiled_files_are_read_or_refused_in_one_line(tmp_path):
    """300 files with changed bytes, in the file as it is and in its pickle with the checksums made right again."""
    path, rng = tmp_path / "a.pth", random.Random(0)
    torch.save({"state_dict": TENSORS, "recorder": Recorder()}, path)
    whole = path.read_bytes()
    outcomes = []
    for round_ in range(300):
        path.write_bytes(spoil(whole, rng) if round_ % 2 else spoil_pickle(whole, rng))
        outcomes.append(outcome(path))
    assert set(outcomes) == {"read", "refused"}
    assert outcomes.count("refused") > 100


def outcome(path):
    try:
        return "read" if read_tensors(path) else "empty"
    except InputError as error:
        return "refused" if "\n" not in str(error) else "refused at length"


def spoil(content, rng):
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 20])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(changed))]) if rng.random() < 0.2 else bytes(changed)


def spoil_pickle(content, rng):
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w") as target:
        for name in source.namelist():
            part = bytearray(source.read(name))
            if name.endswith("data.pkl"):
                for _ in range(rng.choice([1, 2, 5])):
                    part[rng.randrange(len(part))] = rng.randrange(256)
            target.writestr(name, bytes(part))
    return result.getvalue()
