"""One rate limit and one ledger of claims for many processes: a pure window, a worker thread, SQLite and Redis."""
