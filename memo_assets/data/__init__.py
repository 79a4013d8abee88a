"""Data sources, prompts, label noise, split masks and tokens. Nothing here knows Dagster."""
