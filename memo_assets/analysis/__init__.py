"""From warehouse rows to tables of labels, scores and evaluations, and the frames that figures draw. No Dagster."""
