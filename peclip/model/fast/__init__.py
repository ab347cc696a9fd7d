"""Faster forms of the same functions: layers of the frozen backbone, and a GRU for torch.compile."""
