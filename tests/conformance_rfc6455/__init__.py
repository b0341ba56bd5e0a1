"""RFC 6455, by the case files of the Autobahn test suite (tox -e rfc6455)."""
