"""Redis, for one native thread: a client with one connection, and redis-py imported late.

The only module that knows redis-py. It blocks its thread, so it is never used on the hub
thread; :meth:`Store.interrupt` is for other threads.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError, DialError
from ..runtime.native import native_socket
from . import reasons

TIMEOUT_S = 5.0  # for an answer beyond what was asked to block


class RedisDown(DialError):
    """Redis cannot be reached, or does not answer; the gateway may be quite well."""

    stage = "redis"


class Moved(RedisDown):
    """Of a cluster, this is not the node; the next try goes to the right one."""


def _redis() -> Any:
    try:
        import redis
    except ImportError:
        raise ConfigError(
            "a fleet needs redis-py, which is not installed", hint="pip install 'gwsync[redis]'"
        ) from None
    return redis


def available() -> None:
    """Raises ConfigError if redis-py is missing."""
    _redis()


class Store:
    """One connection to Redis, made when it is used and remade after it was lost."""

    def __init__(self, url: str, password: str | None = None, timeout: float = TIMEOUT_S) -> None:
        self.url = url
        self._password = password
        self._timeout = timeout
        self._client: Any = None
        self._scripts: dict[str, Any] = {}
        self._closed = False
        self._moved: tuple[str, int] | None = None  # where a cluster has our keys

    @property
    def client(self) -> Any:
        """redis-py's. Its errors become RedisDown inside :meth:`told`."""
        if self._client is None:
            if self._closed:
                raise RedisDown("the connection to Redis was closed here")
            try:
                self._client = self._open()
            except ValueError as error:
                raise ConfigError(f"the Redis url cannot be used: {reasons.words(error)}") from None
        return self._client

    def _open(self) -> Any:
        redis = _redis()
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # No retries of its own: what was sent may have been done, and only we know if that matters
        options: dict[str, Any] = {
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "socket_keepalive": True,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "single_connection_client": True,
        }
        if self._password is not None:
            options["password"] = self._password
        if self.url.startswith("redis+sentinel://"):
            return self._through_sentinel(redis, options)
        single = options.pop("single_connection_client")
        if self.url.startswith("unix:"):
            del options["socket_keepalive"]  # of TCP, and redis-py refuses it here
        pool = redis.ConnectionPool.from_url(self.url, **options)
        if self._moved is not None:
            host, port = self._moved
            # a node that names no host means the one that was asked
            pool.connection_kwargs.update({"port": port, **({"host": host} if host else {})})
            self._moved = None  # if nobody answers there, the url is asked again
        return redis.Redis(connection_pool=pool, single_connection_client=single)

    def _through_sentinel(self, redis: Any, options: dict[str, Any]) -> Any:
        from redis import sentinel

        named: Any = sentinel
        parts = urlsplit(self.url)
        service, _, database = parts.path.strip("/").partition("/")
        user, _, hosts = parts.netloc.rpartition("@")
        pairs = [host.rpartition(":") for host in hosts.split(",")]
        addresses = [
            (name or port, int(port) if name and port.isdigit() else 26379)
            for name, _, port in pairs
        ]
        if user:
            options["username"] = user
        options["db"] = int(database or 0)
        # one that is not there is not tried for seconds: the next one is asked
        limits = {
            name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "retry")
        }
        # Asked anew for each connection: after a failover it is another one.
        watching = named.Sentinel(addresses, sentinel_kwargs=limits)
        try:
            host, port = watching.discover_master(service or "mymaster")
        finally:
            for client in watching.sentinels:
                client.close()
        return redis.Redis(host=host, port=port, **options)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Errors of Redis or on the way there as RedisDown; the connection is let go of then."""
        redis = _redis()
        try:
            yield
        except RedisDown:
            raise
        except redis.exceptions.MovedError as error:
            self._moved = error.host, error.port  # all of a fleet's keys are in one slot
            self.drop()
            raise Moved(f"Redis at {self.shown}: another node has the fleet's keys") from None
        except (redis.RedisError, OSError) as error:
            self.drop()
            words, hint = reasons.words(error), reasons.hint(error)
            raise RedisDown(f"Redis at {self.shown}: {words}", hint=hint) from None

    def script(self, source: str) -> Any:
        """``source`` as a function ``(keys, args)``; sent once a connection at most."""
        client = self.client
        known = self._scripts.get(source)
        if known is None:
            known = self._scripts[source] = client.register_script(source)
        return known

    @property
    def shown(self) -> str:
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or parts.path

    def drop(self) -> None:
        client, self._client = self._client, None
        self._scripts.clear()
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()
                client.connection_pool.disconnect()

    def close(self) -> None:
        """By its own thread, at its end."""
        self._closed = True
        self.drop()

    def interrupt(self) -> None:
        """From another thread: what blocks in it ends at once, with RedisDown; for good."""
        self._closed = True
        fd = self.fileno()
        if fd is None:
            return
        with contextlib.suppress(OSError), native_socket(fileno=os.dup(fd)) as twin:
            if self.fileno() == fd:  # else its thread closed it meanwhile, and it is anybody's
                twin.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int | None:
        """The descriptor of the present connection, if there is one."""
        connection = getattr(self._client, "connection", None)
        sock = getattr(connection, "_sock", None)
        try:
            fd = sock.fileno() if sock is not None else -1
        except OSError:
            return None
        return fd if fd >= 0 else None
