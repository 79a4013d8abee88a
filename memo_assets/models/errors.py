"""What can be wrong with a model, without loading any."""


class ModelMissingError(ValueError):
    """The model that a study names is not here; the message says what to do."""
