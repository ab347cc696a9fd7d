"""The parts that learn: adapters and prompts, pure modules that know neither a backbone nor Lightning."""
