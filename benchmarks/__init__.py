"""Measurements behind every claim of speed: ratios of two things that are timed in turn in one run."""
