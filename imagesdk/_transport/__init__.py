"""HTTP transport: one exchange, on the package's own connections or on the client of the user."""
