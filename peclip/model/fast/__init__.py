"""Faster forms of the same functions: how frozen layers compute, and a GRU that torch.compile can take in."""
