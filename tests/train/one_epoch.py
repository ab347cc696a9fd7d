"""Trainings of one epoch by the command, as the fixtures of conftest.py start them."""

import csv

ONE_EPOCH = ("--trainer.max_epochs", "1", "--model.zero_shot", "false")


def column(folder, name):
    """The values of a column of metrics.csv, row by row."""
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
