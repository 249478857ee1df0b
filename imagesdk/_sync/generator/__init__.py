"""The generator of ``imagesdk/_sync/facade.py``, a development tool: ``python -m imagesdk._sync.generator [--check]``.

- ``parse`` finds the members of the asynchronous classes in their source text.
- ``docstrings`` turns docstrings and signatures into those of the blocking classes.
- ``__main__`` writes the blocking classes.

It imports neither the asynchronous classes nor their dependencies.
"""
