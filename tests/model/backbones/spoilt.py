"""Change the files of a backbone, and read what is then said of it."""

import json

import pytest

from peclip.errors import InputError
from peclip.model.backbones.load import load_backbone


def refusal(path):
    with pytest.raises(InputError) as caught:
        load_backbone(str(path))
    message = str(caught.value)
    assert message.startswith(f"backbone {str(path)!r} ")
    assert "\n" not in message
    return message


def change(path, **entries):
    """Change entries of a JSON file; ``a__b`` is the entry b of a, and None removes one."""
    plain = json.loads(path.read_text())
    for name, value in entries.items():
        *parents, last = name.split("__")
        section = plain
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(json.dumps(plain))
