"""Training and evaluation on PyTorch Lightning."""
