"""Rate-limited image servers in virtual time: minutes of a fan-out pass in milliseconds, the same way each time.

How to ask it something::

    server = SimulatedServer(Account(SlidingLog(50)), manner=Manner(wait="date"), faults=Faults(TABLE, seed=1))
    report = fan_out(server, weights=[1] * 200)
    assert report.refusals == 0 and report.lateness <= 1.05

``limits`` holds what servers count and how, ``headers`` how they speak of it, ``faults`` what goes wrong. ``server``
puts them together and keeps the books: what was admitted when, and what was billed for which job. ``transport``
stands where httpx would; ``fan_out`` runs the real engine of the package against it under trio's mock clock, and
``optimum`` says how fast a client could have been that knows everything. Nothing here may use a thread: virtual time
would not wait for it.
"""
