"""The spiders of the invented project."""
