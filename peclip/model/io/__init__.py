"""Read and write trained models: runs, checkpoints, packages, released files and ONNX. Readers return plain data."""
