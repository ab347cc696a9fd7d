"""Adapters and prompts, the modules that learn: they know neither a backbone nor Lightning."""
