"""Arguments of few values, which the parser of the command checks for options, and Python callers state unchecked."""

from functools import partial

import pytest

from peclip import InputError, PEClipModule, Recognizer, VideoDataModule
from peclip.labels import class_names
from tests.model.small import build


@pytest.mark.parametrize("name", ["predict", "other_labels", "on_error"])
def test_data_refuse_another_value(name):
    with pytest.raises(InputError, match=f"^{name} is 'nope', expected one of "):
        VideoDataModule("manifest.csv", num_workers=0, **{name: "nope"})


@pytest.mark.parametrize(
    "kind",
    [
        partial(PEClipModule, schedule="nope"),
        partial(PEClipModule, frozen="nope"),
        partial(Recognizer, precision="nope", faces="none"),
    ],
)
def test_models_refuse_another_value(kind, tiny_clip):
    (name,) = [name for name, value in kind.keywords.items() if value == "nope"]
    with pytest.raises(InputError, match=f"^{name} is 'nope', expected one of "):
        kind(build(tiny_clip))


@pytest.mark.parametrize("labels", ["anger", [1, 2], [None]])
def test_labels_are_a_list_of_names(labels):
    with pytest.raises(InputError, match=r"^labels is .*, expected a list of class names$"):
        class_names(labels)
