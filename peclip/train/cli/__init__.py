"""The training half of the command line."""
