"""The demo: invented publications, a server for one of them, and what runs them through the registry.

Belongs here: everything `make demo` needs, and the catalogue of hostile inputs that tests use too. Everything is
invented: no line comes from a real publisher. Does not belong here: anything the registry itself needs to run.
Run the modules from the checkout, as in `python -m examples.generate DIR`.
"""
