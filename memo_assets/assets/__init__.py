"""Thin Dagster assets, one file per step of the method: read, call, write, report metadata."""
