"""The blocking clients: a facade generated from the asynchronous ones, over one event-loop thread.

``facade.py`` is written by ``generate.py`` and never by hand; ``lease.py`` is what its classes hold, ``portal.py`` the
thread. The import of this package does nothing, so that the generator runs without the core.
"""
