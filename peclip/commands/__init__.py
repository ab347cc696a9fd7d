"""The subcommands that are functions. Their typed arguments are the options; what is heavy is imported when they run."""
