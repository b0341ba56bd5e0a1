"""The version, in one place: setup.cfg and the handshake read it here."""

VERSION = "0.1.0"
