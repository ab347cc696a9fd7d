"""Trainings of one epoch by the command, as the fixtures of conftest.py start them."""

import csv
import json

ONE_EPOCH = ("--trainer.max_epochs", "1", "--model.zero_shot", "false")


def column(folder, name):
    """The values of a column of metrics.csv, row by row."""
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def callback(name, **arguments):
    """The option that adds a callback of Lightning."""
    spec = {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}
    return ("--trainer.callbacks+", json.dumps(spec))
