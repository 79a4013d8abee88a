"""Bringing studies up to date without a person: what needs work, the nightly sensor, the job that redoes a whole study."""
