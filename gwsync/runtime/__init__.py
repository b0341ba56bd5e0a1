"""Threads, the hub, waiters and hooks. Knows nothing about gateways."""
