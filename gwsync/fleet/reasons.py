"""Why Redis was not to be had, in words without secrets, and what to do about it.

Errors are known by their names and words: redis-py is imported late, and elsewhere.
"""

from __future__ import annotations

import ssl

# redis-py takes the first word of some of these away, and makes it a class.
_PASSING = (
    "READONLY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "CLUSTERDOWN", "BUSY ",
    "max number of clients",
)  # fmt: skip
_PASSING_KINDS = frozenset(
    {"ReadOnlyError", "BusyLoadingError", "MasterDownError", "OutOfMemoryError", "MovedError",
     "AskError", "TryAgainError", "ClusterDownError"}
)  # fmt: skip
_REFUSALS = ("AuthenticationError", "NoPermissionError", "AuthenticationWrongNumberOfArgsError")
_NOT_OF_THAT_NAME = (62, 64)  # OpenSSL's codes: the host's name, its address
_EXPIRED = (9, 10)  # not yet, no more
_NO_TLS = "is that a port without TLS? then write redis://"


def is_passing(error: BaseException) -> bool:
    """Whether Redis refused it for now, or another Redis has to be asked: nothing was done."""
    return str(error).startswith(_PASSING) or type(error).__name__ in _PASSING_KINDS


def words(error: BaseException) -> str:
    """Without what an AUTH error or a connection's repr may quote."""
    kind = type(error).__name__
    if kind in _REFUSALS:
        return "it does not let us in: look at the user, the password and its ACL"
    if of_a_file(error):
        return "a file that the url names for TLS is not there"
    return str(error).split("\n")[0] or kind


def hint(error: BaseException) -> str:
    """The next step of who reads it."""
    said = str(error)
    if type(error).__name__ in _REFUSALS:
        return (
            "set GWSYNC_REDIS_PASSWORD, or write redis://USER:PASSWORD@HOST; the README has an ACL"
        )
    if said.startswith("max number of clients"):
        return "raise its maxclients: each worker takes two connections"
    if is_passing(error):
        return "it serves nobody for now: its log says why; gwsync goes on trying"
    if of_a_file(error):
        return "look at ssl_ca_certs, ssl_certfile and ssl_keyfile in the url"
    if _within(error, PermissionError) is not None:
        return "may this user open that socket? Redis's unixsocketperm says who may"
    if (tls := of_tls(error)) is not None:
        return _tls_hint(tls)
    if "closed by server" in said or _within(error, ConnectionResetError) is not None:
        return "it hung up: it restarts, or that is its TLS port, for rediss://"
    if (late := _within(error, TimeoutError)) is not None and "handshake" in str(late):
        return _NO_TLS
    return "is redis-server running there, and is a firewall between?"


def of_tls(error: BaseException) -> ssl.SSLError | None:
    """What TLS said, if that is the cause."""
    found = _within(error, ssl.SSLError)
    return found if isinstance(found, ssl.SSLError) else None


def of_a_file(error: BaseException) -> bool:
    """Whether what the url names for TLS is not there; a unix socket is not meant."""
    cause = _within(error, FileNotFoundError)
    return cause is not None and " connecting to /" not in str(error)


def _tls_hint(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NOT_OF_THAT_NAME:
            return "write the host as its certificate has it"
        if error.verify_code in _EXPIRED:
            return "renew it; or is this machine's clock wrong?"
        return "name the file of its CA: rediss://HOST:6379/0?ssl_ca_certs=FILE"
    if "WRONG_VERSION" in str(error) or "record layer" in str(error):
        return _NO_TLS
    return "does it want a certificate of ours? ?ssl_certfile=FILE&ssl_keyfile=FILE"


def _within(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, kind):
        inner = inner.__cause__ or inner.__context__
    return inner
