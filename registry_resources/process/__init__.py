"""Processing: the backends that merge what was collected into compiled releases."""
