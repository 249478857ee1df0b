"""Rate-limited image servers in virtual time: minutes of a fan-out pass in milliseconds, the same way each time.

How to use it::

    server = SimulatedServer(Account(SlidingLog(50)), style=ServerStyle(wait="date"), faults=Faults(TABLE, seed=1))
    report = fan_out(server, weights=[1] * 200)
    assert report.refusals == 0 and report.lateness <= 1.05

``limits`` holds what servers count and how, ``headers`` how they state it, ``faults`` what goes wrong. ``server``
puts them together and keeps the books: what was admitted when, and what was billed for which job. ``transport``
replaces httpx. ``fan_out`` runs the real engine of the package against it under trio's mock clock. ``optimum`` computes
how fast an omniscient client could have been. Nothing here may use a thread: virtual time would not wait for it.
"""
