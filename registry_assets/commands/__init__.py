"""The commands of `registry`, one module each, imported only when they are asked for."""
