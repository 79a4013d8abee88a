"""What is asked of a study's files and tables before anything is built on them; plain functions, no Dagster."""
