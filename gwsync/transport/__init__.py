"""The dial: stages under one deadline, from a name to an open WebSocket."""
