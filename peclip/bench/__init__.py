"""``peclip bench``: how fast training, evaluation and decoding are on this machine."""
