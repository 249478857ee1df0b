"""HTTP: one exchange, on connections of our own or on the caller's client."""
