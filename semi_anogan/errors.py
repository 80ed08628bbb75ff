"""Errors that a user can mend: the message names the file, the row or the setting, and the value that was
found.
"""


class UserError(Exception):
    """What a command tells in one line, without a traceback; every error of the package that a user can mend
    is one.
    """


class ConfigError(UserError, ValueError):
    """A setting out of its range."""


class DataError(UserError, ValueError):
    """Bad data, or a bad setting of the data."""


class RunError(UserError, RuntimeError):
    """A run folder that is missing, in use, damaged or of another run; or a request that a run cannot meet."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be written or read, or does not fit the model."""
