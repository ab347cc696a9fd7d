"""Selection of the best checkpoint, and its wording in every table and page."""

from typing import Literal

Selection = Literal["validation", "test", "none"]
"""Clips on which the best checkpoint is chosen."""

SELECTION: dict[Selection, str] = {
    "validation": "the checkpoint is chosen on validation clips; the test clips are read once, at the end.",
    "test": "the checkpoint is chosen on the test clips (val: test), so the test result is optimistic.",
    "none": "no validation or test clips choose the checkpoint, which is the last one by default.",
}


def selection_note(selection: Selection, of: str = "") -> str:
    """Return a sentence that says how the checkpoint is selected.

    Args:
        selection: which clips it is chosen on.
        of: what the sentence is about, such as the name of a run; nothing by default.
    """
    text = SELECTION[selection]
    return f"{of}: {text}" if of else text[0].upper() + text[1:]
