"""Several devices and nodes: ranks, signals, sharded backbones."""
