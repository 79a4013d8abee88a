"""Know early in a fine-tuning run which training samples a model is about to memorize."""

__version__ = "0.1.0"
