"""The task managers: how each kind of task is run, watched and wiped."""
