"""Calls, attempts, retries, streams and downloads."""
