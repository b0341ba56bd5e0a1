"""The clients under test: one process each, one file a library, all doing the same work."""
