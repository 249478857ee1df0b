"""Adapters of ``client.images.once`` for engines that run tasks on many machines: Ray, Celery and Dask.

An engine repeats tasks after a crash. ``once`` sends each job one time all the same, and ``shared=`` keeps one rate limit
over all workers. Each module needs its engine and nothing else, as an extra of the same name.
"""
