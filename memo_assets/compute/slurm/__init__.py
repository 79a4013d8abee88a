"""Computing on a Slurm cluster: settings, batch scripts, the queue, and what a task does on its node. No Dagster."""
