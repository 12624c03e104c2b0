"""The sensors: what Dagster looks at by itself, one module each.

Belongs here: nothing but the modules. Does not belong here: the rules that they apply (`process_manager.rules`).
"""
