"""One module a revision. Once released, a revision never changes: what it does stands in it, not in the models."""
