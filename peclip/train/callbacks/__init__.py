"""Callbacks that show a training and write its results."""
