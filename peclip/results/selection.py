"""Selection of the best checkpoint, and clips that are not held out from a model: their wording in every table and page."""

from dataclasses import dataclass
from typing import Literal

Selection = Literal["validation", "test", "none"]
"""Clips on which the best checkpoint is chosen."""

EvaluatedSplit = Literal["test", "validation"]
"""Clips that an evaluation reads."""

SELECTION: dict[Selection, str] = {
    "validation": "the checkpoint is chosen on validation clips; the test clips are read once, at the end.",
    "test": "the checkpoint is chosen on the test clips (val: test), so the test result is optimistic.",
    "none": "no validation or test clips choose the weights, which are the last ones by default.",
}

SAME_CLIPS = (
    "the results are of the validation clips, which also choose the checkpoint and the temperature, so they are optimistic: "
    "add test clips."
)


@dataclass(frozen=True)
class Seen:
    """Clips of an evaluation that are not held out from the model.

    Attributes:
        training: number of them that are training clips of the model.
        validation: number of them that are its validation clips.
        of: number of clips of the split.
        unknown: whether these numbers are not known, and 0 here.
    """

    training: int
    validation: int
    of: int
    unknown: bool = False

    @property
    def remarks(self) -> list[str]:
        """A sentence for each kind of clip, or one if they are not known."""
        if self.unknown:
            return [f"it is not known which of the {self.of:,} clips are training or validation clips of this model"]
        kinds = {"training": self.training, "validation": self.validation}
        return [
            f"{count:,} of the {self.of:,} clips are {kind} clips of this model"
            for kind, count in kinds.items()
            if count
        ]


@dataclass(frozen=True)
class Validated:
    """Size of the validations of a training that were limited to some of its validation clips.

    Attributes:
        clips: number of clips that each validation looked at.
        of: number of validation clips of the training.
        chose: choices that these clips made: checkpoint, temperature, or both.
    """

    clips: int
    of: int
    chose: tuple[str, ...]

    def __str__(self) -> str:
        """Return a remark for people."""
        return f"{' and '.join(self.chose)} chosen on {self.clips:,} of {self.of:,} validation clips"


def is_optimistic(selection: Selection, split: EvaluatedSplit) -> bool:
    """Return whether the checkpoint is chosen on the clips that are evaluated; with ``val: test`` these are also the validation clips."""
    return selection in ("test", split)


def selection_note(selection: Selection, split: EvaluatedSplit = "test", of: str = "") -> str:
    """Return a sentence that says how the checkpoint is selected.

    Args:
        selection: clips on which it is chosen.
        split: split that the results are of.
        of: subject of the sentence, such as the name of a run; none by default.
    """
    text = SAME_CLIPS if selection == split == "validation" else SELECTION[selection]
    return f"{of}: {text}" if of else text[0].upper() + text[1:]


def optimism_notes(selection: Selection, split: EvaluatedSplit, of: str = "") -> list[str]:
    """Return :func:`selection_note` if it makes results optimistic, else nothing; the arguments are the same."""
    return [selection_note(selection, split, of)] if is_optimistic(selection, split) else []
