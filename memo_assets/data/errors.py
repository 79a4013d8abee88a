"""The errors of the data layer.

What belongs here: the exceptions that say what is wrong with a user's data. What does not: the checks (`items`).
"""


class DataError(ValueError):
    """The data cannot be used as they are; the message says where, what was expected and what to do."""


class DataMissingError(DataError):
    """Data that are to be downloaded and are not there; the message says how to get them."""


class AuditError(DataError):
    """An audit of a study that a protected variant cannot use; the message says what to do."""
