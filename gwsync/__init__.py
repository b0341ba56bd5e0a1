"""gwsync: the OpenClaw Gateway from ordinary, blocking Python."""
