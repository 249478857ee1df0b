"""The blocking clients: a facade generated from the asynchronous clients, on top of one event-loop thread.

- ``facade``: the classes that users see. ``generator`` writes this module; never edit it by hand.
- ``lease``: the handle of a blocking client on its asynchronous object.
- ``context``: blocking ``with`` blocks over asynchronous context managers.
- ``membership``: registers a client with the portal, and removes it.
- ``portal``: the event-loop thread.
- ``calls``, ``latch``, ``dns_threads``: one call, the lock it waits on, and the resolver threads.

Importing this package imports none of its modules, so the generator runs without the dependencies.
"""
