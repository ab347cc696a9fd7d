"""The data: clips on disk to batches on the device."""
