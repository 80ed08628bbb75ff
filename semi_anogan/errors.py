"""Errors that a user can mend: the message names the file, row or setting, and the value found."""


class UserError(Exception):
    """What a command tells in one line, without a traceback. All errors a user can mend are such."""


class ConfigError(UserError, ValueError):
    """A setting out of its range."""


class DataError(UserError, ValueError):
    """Bad data, or a bad setting of the data."""


class RunError(UserError, RuntimeError):
    """A run folder that is missing, in use, damaged or of another run; or what a run cannot do."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be written or read, or does not fit the model."""
