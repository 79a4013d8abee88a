"""The training loop and the forward pass: K models of one study at once, language or vision.

Importing this package does not import torch; `schedule` and `batches` never do.
"""
