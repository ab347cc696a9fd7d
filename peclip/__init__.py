"""peclip: dynamic facial expression recognition with PE-CLIP. Importing the package imports no torch."""

__version__ = "0.1.0"
