"""Arguments of Python callers that are of another type: one line, in the words of Python."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

import peclip
from peclip import ClipFormat, InputError, Manifest, PEClip, PEClipModule, Recognizer, VideoDataModule, load_released
from peclip.arguments import check, checked, python_value
from peclip.clip_format import Views
from peclip.data import Augment, Mix
from peclip.model import MaPLe, SharedAdapter

LABELS = ["anger", "fear", "happiness"]
TABLE = pd.DataFrame({"path": ["a.mp4"], "label": ["fear"]})


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        ("8", int, "x is '8', expected an int"),
        (True, int, "x is True, expected an int"),
        (1.5, int | None, "x is 1.5, expected an int or None"),
        (None, float, "x is None, expected a float"),
        (1, bool, "x is 1, expected a bool"),
        (3, str | Path, "x is 3, expected a str or a Path"),
        ("c", Literal["a", "b"], "x is 'c', expected one of a, b"),
        (["a"], Literal["a", "b"] | None, "x is ['a'], expected one of a, b or None"),
        ("ab", list[str], "x is 'ab', expected a list of str"),
        (["a", 3], Sequence[str], "x[1] is 3, expected a str"),
        ({"a"}, Sequence[str], "x is {'a'}, expected a list of str"),
        ([1], dict[str, int] | None, "x is [1], expected a dict or None"),
        ({"a": "b"}, Mapping[str, int] | None, "x['a'] is 'b', expected an int"),
        ({3: 3}, dict[str, int], "x: a key is 3, expected a str"),
        ((1, 2, 3), tuple[float, float], "x is (1, 2, 3), expected 2 values"),
        (("a", 2), tuple[float, float], "x[0] is 'a', expected a float"),
        (3, Callable[[int], int], "x is 3, expected a callable"),
        ("ab", Iterable[str], "x is 'ab', expected an Iterable"),
        (3, torch.Tensor, "x is 3, expected a Tensor"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place_and_what_was_expected(value, kind, says):
    with pytest.raises(InputError) as caught:
        check("x", value, kind)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.int64(3), int),
        (np.float32(3), float),
        (3, float),
        ([1, 2.5], tuple[float, float]),
        (("a",), list[str]),
        (Path("a"), str | Path),
        (None, Literal["a"] | None),
        ({"a": SharedAdapter}, dict[str, Callable[[int], Any]]),
        (object(), Any),
    ],
)
def test_a_value_of_the_type_passes(value, kind):
    check("x", value, kind)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float64(3), 3.0),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (Fraction(1, 2), 0.5),
        (np.array(3), 3),
        (np.True_, True),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (True, True),
        ("3", "3"),
        (None, None),
        ((1, 2), (1, 2)),
    ],
)
def test_a_number_of_numpy_becomes_one_of_python_and_all_else_stays(value, expected):
    assert (python_value(value), type(python_value(value))) == (expected, type(expected))


def test_calls_get_numbers_of_python():
    @checked()
    def call(count: int, rate: float | None = None) -> tuple[type, type]:
        return type(count), type(rate)

    assert call(np.int64(3), rate=np.float64(0.1)) == (int, float)
    with pytest.raises(InputError, match=r"rate is tensor\(.*, expected a float or None"):
        call(3, torch.tensor(0.1))


def test_settings_hold_numbers_of_python():
    assert type(Views(clips=np.int64(2)).clips) is int
    assert type(Augment(flip=np.float64(0.5)).flip) is float


def test_defaults_errors_of_python_and_paths_are_as_before():
    @checked("own")
    def call(name: str, own: int, later: "Later | None" = 3) -> tuple[str, int]:  # noqa: F821
        return name, own

    assert call(Path("a/b"), own="x") == ("a/b", "x")
    assert call("a", 1) == ("a", 1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'own'"):
        call("a")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": "happy"}, "labels is 'happy', expected a list of class names"),
        ({"labels": frozenset({"fear"})}, "labels is frozenset({'fear'}), expected a list of class names"),
        ({"labels": 3}, "labels is 3, expected a list of class names"),
        ({"labels": {"anger", "fear"}}, "labels is {'anger', 'fear'}, expected a list of class names"),
        ({"backbone": 3}, "backbone is 3, expected a str"),
        ({"adapters": ["x"]}, "adapters is ['x'], expected a dict or None"),
        ({"adapters": {"vision.mlp": 3}}, "adapters['vision.mlp'] is 3, expected a callable"),
        ({"adapters": {"vision.mlp": int}}, "adapters['vision.mlp'] has int, expected a subclass of Adapter"),
        ({"adapters": {"vision.mlp": SharedAdapter(32)}}, "adapters['vision.mlp']: SharedAdapter( (down)"),
        (
            {"adapters": {"vision.mlp": partial(SharedAdapter, 32)}},
            "adapters['vision.mlp']: SharedAdapter has arguments without",
        ),
        ({"prompts": SharedAdapter}, "prompts has SharedAdapter, expected a subclass of Prompts"),
        ({"prompts": partial(MaPLe, deph=2)}, "prompts: MaPLe got an unexpected keyword argument 'deph'"),
        ({"prompts": partial(MaPLe, length="2")}, "prompts: MaPLe: length is '2', expected an int"),
        ({"temporal": torch.nn.GRU}, "temporal has GRU, expected a subclass of TemporalHead"),
        ({"texts": {3: "a"}}, "texts has 3 for a label"),
        ({"without": "vision.mlp"}, "without is 'vision.mlp', expected a list of str or None"),
        ({"num_frames": "8"}, "num_frames is '8', expected an int"),
        ({"norms": True}, "norms is True, expected one of both, vision, text or None"),
    ],
)
def test_a_model_names_the_argument(given, says, tiny_clip):
    with pytest.raises(InputError) as caught:
        PEClip(**{"labels": LABELS, "backbone": str(tiny_clip)} | given)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def net(tiny_clip):
    return PEClip(LABELS, str(tiny_clip), num_frames=2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda net: PEClip.assemble(net.backbone, net.token_ids.tolist(), LABELS),
            r"token_ids is \[\[.*, expected a Tensor",
        ),
        (lambda net: PEClip.assemble(3, net.token_ids, LABELS), "backbone is 3, expected a Backbone"),
        (lambda net: PEClip.from_trained("run"), "trained is 'run', expected a Trained"),
        (lambda net: PEClip.from_pretrained(3), "source is 3, expected a str or a Path"),
        (lambda net: net.save_pretrained(3), "folder is 3, expected a str or a Path"),
        (lambda net: net.load_trainable([], "x"), r"state is \[\], expected a dict"),
        (lambda net: net(3), "video is 3, expected a Tensor"),
        (lambda net: net.probabilities([1]), r"logits is \[1\], expected a Tensor"),
        (lambda net: load_released({"a": 3}), r"source\['a'\] is 3, expected a Tensor"),
        (lambda net: PEClipModule(3), "net is 3, expected a PEClip"),
        (lambda net: PEClipModule(net, lr_prompts="1"), "lr_prompts is '1', expected a float"),
        (lambda net: PEClipModule(net, loss=torch.nn.NLLLoss), "loss is <class .*, expected a Module or None"),
        (lambda net: VideoDataModule(manifest=3), "manifest is 3, expected a str or None"),
        (lambda net: VideoDataModule(labels="happy"), "labels is 'happy', expected a list of class names"),
        (lambda net: VideoDataModule(num_frames="8"), "num_frames is '8', expected an int or None"),
        (lambda net: VideoDataModule(augment={}), "augment is {}, expected an Augment"),
        (lambda net: Recognizer(3), "model is 3, expected a str or a Path or a PEClip"),
        (lambda net: Recognizer(net, faces="haar"), "faces is 'haar', expected one of yunet, none or a callable"),
        (lambda net: Recognizer(net, "none")(3), "source is 3, expected a str or a Path"),
        (lambda net: [*Recognizer(net, "none").rows([3], "a")], "frames has 3, expected seconds and a frame"),
        (
            lambda net: [*Recognizer(net, lambda _: 3).rows([(0.0, np.zeros((8, 8, 3), np.uint8))], "a")],
            "faces returns 3, expected",
        ),
        (lambda net: Manifest(3, "a", "b"), "table is 3, expected a DataFrame"),
        (lambda net: Manifest(TABLE, "a", 3), "root is 3, expected a Path or a str"),
        (lambda net: Manifest.read(3), "path is 3, expected a Path or a str"),
        (lambda net: Manifest(TABLE, "a", "b").select("dev"), "which is 'dev', expected one of train, val, test"),
        (lambda net: Manifest(TABLE, "a", "b").check_labels("fear"), "labels is 'fear', expected a list of str"),
        (lambda net: ClipFormat(mean=3), "mean is 3, expected three numbers"),
        (lambda net: ClipFormat(upright="no"), "upright is 'no', expected a bool"),
        (lambda net: Augment(area=3), "area is 3, expected 2 values"),
        (lambda net: Mix(mixup="x"), "mixup is 'x', expected a float"),
        (lambda net: Views(clips="x"), "clips is 'x', expected an int"),
    ],
)
def test_every_public_name_is_checked(call, says, net):
    with pytest.raises(InputError, match=f"^{says}"):
        call(net)


def test_constructors_of_public_names_check_each_argument():
    for kind in (PEClip, PEClipModule, VideoDataModule, Recognizer, Manifest):
        assert hasattr(kind.__init__, "__wrapped__"), kind
    assert {*peclip.__all__} - {"InputError", "ClipFormat", "load_released"} == {
        kind.__name__ for kind in (PEClip, PEClipModule, VideoDataModule, Recognizer, Manifest)
    }
