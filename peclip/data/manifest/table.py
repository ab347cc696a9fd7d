"""One table of clips for every source: path, label, split, fold, subject, start, end; read, written, split and selected.

A manifest is a csv with the header ``path,label`` and, if wanted, ``split,fold,subject,start,end``:

- ``path``: a video file or a folder of frames, relative to the manifest;
- ``label``: the class, by any name; ``happy``, ``Happiness`` and ``HAP`` are one expression;
- ``split``: ``train``, ``val`` or ``test``; a row without one belongs to training;
- ``fold``: the fold of a cross-validation in which the clip is *tested*; in every other fold it is trained on;
- ``fold_1``, ``fold_2``, ... instead of ``fold``: ``train``, ``val`` or ``test``, what the clip is for in that fold; nothing if
  the fold does not use it;
- ``start``, ``end``: seconds; the part of the file that is the clip;
- ``subject`` (or ``video``): the person, or the longer video, that the clip shows; no one is trained on and validated on;
- ``p_LABEL`` of every class: soft labels, see :mod:`peclip.data.soft_labels`.

pandas is imported by what makes or reads a table: it takes half a second, and many answers need no table.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from peclip import labels as vocabulary
from peclip.arguments import check, checked
from peclip.data.manifest.columns import complete, rows
from peclip.data.manifest.formats import NUMBER, fold_columns, list_command
from peclip.data.manifest.reader import parse_manifest
from peclip.data.manifest.soft import soft_columns
from peclip.data.media.storage import is_address
from peclip.errors import InputError, check_choice, listed, shown
from peclip.files import FORMULA, atomic_write

if TYPE_CHECKING:
    import pandas as pd

Split = Literal["train", "val", "test"]

OUTSIDE = "Some clips lie outside the folder of this file: train on it with --data.allow_outside true"
"""Note about a manifest that :meth:`Manifest.reaches_outside`."""


@dataclass(frozen=True)
class Clip:
    """One row of a manifest.

    Attributes:
        path: absolute path of a video file, a folder of frames or a packed clip; the address of a packed clip elsewhere.
        label: canonical name of the class; None if the manifest has none.
        start: first second of the clip, None for the beginning of the file.
        end: second at which the clip ends, None for the end of the file.
        where: the line that named the clip, for messages (``dfew.csv line 17``).
    """

    path: Path | str
    label: str | None
    start: float | None
    end: float | None
    where: str


class Manifest:
    """A table of clips.

    Args:
        table: any of the :data:`~peclip.data.manifest.columns.COLUMNS`, at least ``path``; the others are empty. Labels are made canonical. Besides them,
            ``fold_1`` and so on, see :attr:`fold_columns`, and ``p_LABEL`` of every class.
        source: the file or folder that the table was read from.
        root: folder to which relative paths of the table belong, or its address.
        notes: sentences for the user about what a reader skipped.

    Attributes:
        table: one row a clip, with the columns of :data:`~peclip.data.manifest.columns.COLUMNS`; ``path`` is relative to ``root`` or absolute,
            ``line`` is 0 if the source has no lines (a folder tree).
    """

    @checked()
    def __init__(self, table: pd.DataFrame, source: Path | str, root: Path | str, notes: Sequence[str] = ()) -> None:
        """Add the missing columns; see the class.

        Raises:
            InputError: a label cannot be the name of a class; the message names the row.
        """
        import pandas as pd

        check("table", table, pd.DataFrame)
        self.table = complete(table)
        self.source = Path(source)
        self.root = root if is_address(root) else Path(os.path.abspath(root))
        self.notes = tuple(notes)
        self._check_names()

    @classmethod
    @checked()
    def read(cls, path: Path | str, labels_required: bool = True, allow_outside: bool = False) -> Manifest:
        """Read a manifest file; see the module for its columns.

        Args:
            path: the csv, UTF-8 with or without a byte order mark; of packed clips also its address (``s3://...``).
            labels_required: False lets rows have no label (prediction).
            allow_outside: accept clips outside the manifest's own folder (absolute paths, ``../``).

        Raises:
            InputError: the file cannot be read, or a line of it is invalid; the message names file and line.
        """
        if is_address(path):
            folder, name = os.path.split(str(path))
            return cls(parse_manifest(path, labels_required, allow_outside=False), source=Path(name), root=folder)
        path = Path(path)
        manifest = cls(parse_manifest(path, labels_required, allow_outside), source=path, root=path.parent)
        if manifest.labels and all(NUMBER.fullmatch(label) for label in manifest.labels):
            command = list_command(path, True, manifest.written_columns)
            advice = f"{command} names them" if command else "write their names"
            manifest = manifest.with_notes(f"the labels are numbers: {advice}")
        return manifest

    def with_notes(self, *notes: str) -> Manifest:
        """Return the same clips with further notes, sentences for the user; this manifest stays as it is."""
        if not notes:
            return self
        noted = copy(self)
        noted.notes = (*self.notes, *notes)
        return noted

    @property
    def written_columns(self) -> list[str]:
        """The columns of the csv: path, label, and those with a value in any row."""
        found = ["path", "label"]
        for column in ("split", "fold", "start", "end", "subject"):
            values = self.table[column]
            if (values.ne("") if column in ("split", "subject") else values.notna()).any():
                found.append(column)
        return [*found, *self.fold_columns.values(), *soft_columns(self.table).values()]

    @checked()
    def write(self, path: Path | str) -> None:
        """Write the csv as a whole or not at all, with paths relative to it if they lie below it.

        Raises:
            InputError: the folder cannot be written to, or a clip's name is not text.
        """
        path = Path(os.path.abspath(path))
        paths = self._paths_from(path.parent)
        paths = paths.where(~paths.str.startswith(FORMULA), "./" + paths)  # see as_cell
        table = self.table.loc[:, self.written_columns].assign(path=paths)
        try:
            with atomic_write(path) as temporary:
                table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
        except UnicodeEncodeError as error:
            # Bytes of a file's name that are not UTF-8 come as surrogates, which UTF-8 cannot encode.
            name = next(name for name in table["path"] if any("\ud800" <= letter <= "\udfff" for letter in name))
            raise InputError(f"{path}: the name of a clip is not UTF-8, rename it: {name!a}") from error

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.table)

    @checked()
    def clip(self, index: int) -> Clip:
        """Return row ``index``, counted from 0; the table's own index plays no part."""
        # Column by column: a row of all columns would be converted to one common type first.
        path, label, start, end = (cast(Any, self.table[name].iat[index]) for name in ("path", "label", "start", "end"))
        return Clip(
            path=f"{self.root}/{path}" if isinstance(self.root, str) else self.root / path,
            label=label or None,
            start=None if math.isnan(start) else float(start),
            end=None if math.isnan(end) else float(end),
            where=self.where(index),
        )

    @checked()
    def where(self, index: int) -> str:
        """Return where row ``index`` comes from: a file and its line, or a folder."""
        source, line = (cast(Any, self.table[name].iat[index]) for name in ("source", "line"))
        return f"{source} line {line}" if line else str(source)

    def select(self, which: Split | pd.Series) -> Manifest:
        """Return the rows of a split, or those where a boolean column is true; a row without split is training."""
        if isinstance(which, str):
            check_choice("which", which, get_args(Split))
            which = self.table["split"].eq(which) | (self.table["split"].eq("") & (which == "train"))
        import pandas as pd

        check("which", which, pd.Series)
        if which.all():
            return self  # rather than a copy of the table
        chosen = copy(self)
        chosen.table = rows(self.table, which)
        return chosen

    @property
    def labels(self) -> list[str]:
        """The labels that occur, in class order."""
        return vocabulary.ordered(name for name in self.table["label"].unique() if name)

    @property
    def fold_columns(self) -> dict[int, str]:
        """The columns with the role of each clip in a fold, by the fold; empty if the column ``fold`` states the folds."""
        return fold_columns(self.table)

    @property
    def facts(self) -> list[str]:
        """The columns that hold for the same clips in other files: all but where they are."""
        return [str(name) for name in self.table if name not in ("path", "start", "end", "source", "line")]

    @property
    def folds(self) -> list[int]:
        """The folds that occur, ascending."""
        if roles := self.fold_columns:
            return [*roles]
        return sorted(int(fold) for fold in self.table["fold"].dropna().unique())

    @checked()
    def splits(self, fold: int | None = None) -> tuple[Manifest, Manifest, Manifest]:
        """Return what is trained on, validated on and tested on; the last two may be empty.

        Args and errors are those of :meth:`roles`.
        """
        role = self.roles(fold)
        return self.select(role.eq("train")), self.select(role.eq("val")), self.select(role.eq("test"))

    @checked()
    def roles(self, fold: int | None = None) -> pd.Series[str]:
        """Return ``train``, ``val`` or ``test`` for each row, empty for a row that the fold does not use.

        Args:
            fold: test on the clips of this fold and train on the others (those marked ``val`` validate); clips
                without a fold go by their split. None goes by the split alone.

        Raises:
            InputError: the fold does not exist, or the manifest has folds and no splits and none was chosen.
        """
        split, folds = self.table["split"], self.folds
        known = f"{self.source} has folds {', '.join(map(str, folds))}" if folds else f"{self.source} has no folds"
        if fold is None:
            if folds and split.eq("").all():
                raise InputError(f"{known}: choose the one to test on with fold, or run all with peclip cv", "fold")
            return split.where(split.ne(""), "train")
        if fold not in folds:
            advice = "choose one of these" if folds else "omit fold, or add a column fold"
            raise InputError(f"fold {fold} does not exist: {known}; {advice}", "fold")
        if roles := self.fold_columns:
            return self.table[roles[fold]].astype("str")
        has_fold = self.table["fold"].notna()
        tested = self.table["fold"].eq(fold).fillna(False).astype(bool) | (split.eq("test") & ~has_fold)
        return split.where(split.eq("val"), "train").where(~tested, "test")

    @checked()
    def check_labels(self, labels: Sequence[str], allow_empty: bool = False, advice: str = "") -> None:
        """Check the rows, usually those of training, against a list of classes.

        Args:
            labels: the classes by name.
            allow_empty: accept a class without a single row.
            advice: end of the message about a row that has another label.

        Raises:
            InputError: a row has another label, or a class has no row.
        """
        known = [vocabulary.canonical(name) for name in labels]
        label = self.table["label"]
        unknown = ~label.isin(known) & label.ne("")
        if unknown.any():
            place = int(unknown.to_numpy().argmax())
            raise InputError(
                f"{self.where(place)}: unknown label {shown(label.iat[place])}, expected one of {listed(known)}{advice}",
                "other_labels",
            )
        if not allow_empty and (empty := [name for name in known if not label.eq(name).any()]):
            raise InputError(
                f"{self.source}: class {empty[0]!r} is empty, it has no clip to train on; "
                "add clips, or list the other classes in labels and set other_labels to skip",
                "labels",
                "other_labels",
            )

    def _check_names(self) -> None:
        labels = {name: None for name in self.table["label"].unique() if name}
        for label in labels:
            if what := vocabulary.flaw(label, labels):
                row = int(self.table["label"].eq(label).to_numpy().argmax())
                raise InputError(f"{self.where(row)}: the label {shown(label)} {what}")

    def missing(self) -> Manifest:
        """Return the clips whose file or folder is missing."""
        import pandas as pd

        return self.select(
            pd.Series([not os.path.exists(os.path.join(self.root, path)) for path in self.table["path"]], dtype=bool)
        )

    @checked()
    def reaches_outside(self, path: Path | str) -> bool:
        """Return whether a csv at ``path`` has to name clips outside its own folder."""
        paths = self._paths_from(Path(os.path.abspath(path)).parent)
        return bool((paths.map(os.path.isabs) | paths.str.startswith("..")).any())

    def _paths_from(self, folder: Path) -> pd.Series:
        """Return the paths as seen from a folder: relative for what lies below it, absolute for the rest."""
        path = self.table["path"]
        prefix = "" if self.root == folder else f"{self.root}{os.sep}"
        inside = f"{folder}{os.sep}"
        whole = path.where(path.map(os.path.isabs).astype(bool), prefix + path)
        return whole.str.removeprefix(inside)
