"""The conversation with the gateway, sans-I/O: no socket, clock, thread or gevent here."""
