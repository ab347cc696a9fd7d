"""The one exception that speaks to a person: a mistake in what peclip was given, told in one line."""


class InputError(ValueError):
    """A user's mistake: the message is one line naming the file, line or key, what was expected and what to do.

    The command line prints the message without a traceback and exits with status 2; Python callers catch it as a
    ``ValueError``.
    """
