"""Faster forms of the same functions: layers of the frozen backbone, a GRU for torch.compile, and memory that is kept."""
