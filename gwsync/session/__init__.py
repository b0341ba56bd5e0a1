"""A connection's life across links: attempts, backoff, subscriptions."""
