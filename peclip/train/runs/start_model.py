"""Detect whether the model that a training started from has changed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peclip.errors import InputError
from peclip.files import write_json
from peclip.model.io import Trained
from peclip.model.io.fits import digest
from peclip.model.io.spec import as_json_text
from peclip.results.records import from_json, read_json

ORIGIN_FILE = "origin.json"
"""File of a run that describes the trained model that it started from. Runs of earlier versions have none."""

SETTINGS = ("adapters", "prompts", "temporal", "peft", "norms", "logit_scale", "clip_format")
"""Entries of a model's configuration that a training takes over; labels, texts and temperature are those of the training."""


@dataclass(frozen=True)
class Origin:
    """The trained model that a training starts from.

    Attributes:
        init_from: name of the model on the command line.
        weights: digest of the weights that were trained.
        settings: entries of the model's configuration that a training takes over, and the fingerprint of the backbone.
    """

    init_from: str
    weights: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, name: str, trained: Trained) -> "Origin":
        """Return the origin that the model with this name is now."""
        plain = trained.config.to_plain()
        settings = {"backbone": trained.config.fingerprint, **{entry: plain.get(entry) for entry in SETTINGS}}
        as_in_file = json.loads(json.dumps(settings, default=as_json_text))  # the form in which it is compared
        return cls(name, digest(trained.state), as_in_file)

    def check_same(self, run: Path, advice: str) -> None:
        """Check that a run that started from a model with this name started from the same weights.

        Args:
            run: folder of the run.
            advice: what the user can do about other weights, the end of the message.

        Raises:
            InputError: the weights or settings were others, or the record cannot be read.
        """
        if (found := read_json(run / ORIGIN_FILE)) is None:
            return
        before = from_json(Origin, found, str(run / ORIGIN_FILE))
        if before.init_from != self.init_from:
            return
        known = {"weights": before.weights, **before.settings}
        others = [
            name for name, now in {"weights": self.weights, **self.settings}.items() if known.get(name, now) != now
        ]
        if others:
            raise InputError(
                f"{self.init_from} has other {' and '.join(others)} than when {run} started from it: {advice}"
            )

    def write(self, run: Path) -> None:
        """Record in the folder of a run that it starts from this model."""
        write_json(run / ORIGIN_FILE, asdict(self))
