"""Sending GPU-bound steps to worker processes, and what a worker does. No Dagster."""
