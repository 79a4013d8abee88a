"""What stops work from being sent."""


class ExecutorError(RuntimeError):
    """Work cannot be sent, or not be followed; the message says what to change."""
