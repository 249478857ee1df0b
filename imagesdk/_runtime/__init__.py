"""Event loops, worker threads, and the line of the caller."""
