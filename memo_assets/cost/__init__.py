"""What a study costs before it is run: sizes, estimate, calibration. Nothing here knows Dagster."""
