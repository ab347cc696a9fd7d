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
"""File of a run that started from a trained model: what that was at the time. Runs of earlier versions have none."""

SETTINGS = ("adapters", "prompts", "temporal", "peft", "norms", "logit_scale", "clip_format")
"""Entries of a model's configuration with which a training starts; its labels, texts and temperature are its own."""


@dataclass(frozen=True)
class Origin:
    """The trained model that a training starts from.

    Attributes:
        init_from: its name on the command line.
        weights: digest of the weights that were trained.
        settings: what else a training starts with, the backbone by its fingerprint.
    """

    init_from: str
    weights: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, name: str, trained: Trained) -> "Origin":
        """Return what the model with this name is now."""
        plain = trained.config.to_plain()
        settings = {"backbone": trained.config.fingerprint, **{entry: plain.get(entry) for entry in SETTINGS}}
        as_in_file = json.loads(json.dumps(settings, default=as_json_text))  # which it is compared with
        return cls(name, digest(trained.state), as_in_file)

    def check_same(self, run: Path, advice: str) -> None:
        """Check that a run started from the same weights, if from a model with this name. Another name is another option.

        Args:
            run: its folder.
            advice: what the user can do where it did not.

        Raises:
            InputError: it did not, or its record cannot be read.
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
        """Record that a run starts from it."""
        write_json(run / ORIGIN_FILE, asdict(self))
