"""The endpoint says the same as the tables of its answer."""

import csv
import io
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inference.test_timeline import LABELS, SETTINGS, blank, face
from tests.lacking import needs_gradio

pytestmark = [needs_gradio, pytest.mark.usefixtures("blank_pictures")]

SIDE = 8


@pytest.fixture
def answered(tmp_path):
    """Return a function that answers a video with two faces, given the caution of the model: JSON and tables."""
    from peclip.inference.app.answer import Recognized, Responder
    from peclip.inference.app.endpoint import Endpoint
    from peclip.inference.app.looks import KeptClips

    def answer(caution):
        thirds = {"happiness": 1 / 3, "fear": 2 / 3}
        first = replace(face("=a.mp4", 1 / 3), probabilities=thirds, picture=None)
        other = replace(first, track=2, end=1.7, probabilities={"happiness": 0.7, "fear": 0.3}, cautions=())
        rows = [first, other, blank("=a.mp4", 4)]
        (tmp_path / "pictures").write_bytes(np.zeros((2, 3, SIDE, SIDE), np.uint8).tobytes())
        recognizer = SimpleNamespace(caution=caution, labels=LABELS, net=SimpleNamespace(image_size=SIDE))
        found = Recognized("=a.mp4", rows, tmp_path, KeptClips(tmp_path / "clips"), 1.0)
        said = Endpoint(Responder(recognizer, SETTINGS, 60.0), SimpleNamespace()).first(found)
        with zipfile.ZipFile(tmp_path / "recognized.zip") as files:
            return said, *(table(files.read(name)) for name in ("summary.csv", "segments.csv"))

    return answer


def table(content):
    return [*csv.DictReader(io.StringIO(content.decode(), newline=""))]


@pytest.mark.parametrize("caution", ["", "It knows drawings only: so beware."])
def test_the_endpoint_says_what_the_tables_say_with_their_rounding(answered, caution):
    said, summary, segments = answered(caution)
    assert said["caution"] == caution
    assert said["segments"] == segments
    assert said["persons"] == [
        {
            "person": int(row["track"]),
            "label": row["label"],
            **{name: float(row[name]) for name in ("first", "last", "seconds")},
            "share": {label: float(row[f"share_{label}"]) for label in LABELS},
            "probability": {label: float(row[f"mean_{label}"]) for label in LABELS},
            "caution": row["caution"],
        }
        for row in summary
    ]
    brief = "It knows drawings only; " if caution else ""
    first, other = said["persons"]
    assert first == {
        "person": 1,
        "label": "fear",
        "first": 0.333,
        "last": 2.333,
        "seconds": 2.0,
        "share": {"happiness": 0.0, "fear": 1.0},
        "probability": {"happiness": 0.333333, "fear": 0.666667},
        "caution": f"{brief}small face (2.0 s)",
    }
    assert other["caution"] == brief.removesuffix("; ")
    assert said["segments"][0] == {
        "file": "./=a.mp4",
        "track": "1",
        "start": "0.333",
        "end": "2.333",
        "seconds": "2.000",
        "label": "fear",
        "probability": "0.666667",
        "caution": f"{brief}small face",
    }
