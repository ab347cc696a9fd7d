"""Backbones: one file per family, the only place that knows Hugging Face's module names."""
