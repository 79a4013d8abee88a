"""Base models, adapters and vision networks. Nothing here knows Dagster."""
