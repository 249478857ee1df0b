"""From a job and options to a call, and from its result to a response."""
