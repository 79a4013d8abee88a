"""The field's measures as functions on arrays: predictors of memorization, ground truth, and how to judge one by the other.

One small file per measure. Nothing here reads or writes a file, imports Dagster or knows what a study is, and torch
is imported inside functions only.
"""
