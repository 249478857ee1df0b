"""Many jobs at once, as one run: ``client.images.fan_out``.

``reading`` takes the jobs from whatever holds them, ``feeding`` starts them one behind the other, ``making`` brings one of
them from its value to its :class:`Outcome`, the ``journal`` remembers it, ``tally`` counts; ``run`` is what users hold.
"""
