"""The assets: one module each, a thin face on a task manager."""
