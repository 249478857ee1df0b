"""Event loops, worker threads, and the caller's line."""
