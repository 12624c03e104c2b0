"""The job logic: how one job of one publication goes from task to task. No dagster."""
