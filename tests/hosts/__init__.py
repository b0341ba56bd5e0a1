"""The hosts gwsync must live in, each a program of its own."""
