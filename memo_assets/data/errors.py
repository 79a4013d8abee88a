"""The one error of the data layer.

What belongs here: the exception that says what is wrong with a user's data. What does not: the checks (`items`).
"""


class DataError(ValueError):
    """The data cannot be used as they are; the message says where, what was expected and what to do."""
