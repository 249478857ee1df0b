"""Client-side rate limiting: the sliding window and its queue (pure), and the limiters that host them."""
