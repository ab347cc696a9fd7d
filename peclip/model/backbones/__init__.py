"""Backbones: one file per family of vision-language models, the only place that knows the module names of Hugging Face."""
