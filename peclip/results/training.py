"""The duration of a training and the waits of its steps: training.json, written and read."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from peclip.files import write_json
from peclip.results.records import from_json, read_json

TRAINING = "training.json"


@dataclass(frozen=True)
class Waits:
    """Seconds that steps of a training waited, by what they waited for, summed over all sessions of a resumed run.

    Attributes:
        input: the next batch, from the end of a step to the start of the next one.
        validation: evaluations of the validation clips.
        checkpoints: collecting and writing the state of the training.
        logging: writing to metrics.csv and to dashboards, their pictures included.
    """

    input: float = 0.0
    validation: float = 0.0
    checkpoints: float = 0.0
    logging: float = 0.0

    def shares(self, seconds: float) -> dict[str, float]:
        """Return the shares of a training of so many seconds, by what was waited for."""
        return {name: value / seconds for name, value in asdict(self).items()} if seconds > 0 else {}


STAGES = tuple(field.name for field in fields(Waits))
"""The things that a step may wait for."""


@dataclass(frozen=True)
class Training:
    """Duration and device of a training: the content of training.json.

    Attributes:
        seconds: duration of the training, validation included, summed over all sessions of a resumed run.
        epochs: number of trained epochs.
        device: name of the GPU, or cpu.
        devices: number of devices.
        waits: seconds that its steps waited on the first device, by reason; None if the run did not record it.
    """

    seconds: float
    epochs: int = 0
    device: str = ""
    devices: int = 1
    waits: Waits | None = None


def write_training(folder: Path, training: Training) -> None:
    """Write ``training.json``."""
    write_json(folder / TRAINING, asdict(training))


def read_training(folder: Path) -> Training | None:
    """Read ``training.json``; None if there is none.

    Raises:
        InputError: it is damaged, or is not what peclip writes.
    """
    content = read_json(folder / TRAINING)
    return None if content is None else from_json(Training, content, str(folder / TRAINING))
