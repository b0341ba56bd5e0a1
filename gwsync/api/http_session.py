"""A requests session that goes the config's way: its proxy, its TLS, its address family.

Made for one exchange and closed after it, so that nothing of it is ever shared between
threads, hubs or forked processes.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from typing import Any

from ..config import Config
from ..proxy_url import ProxyURL
from ..transport import trust

Opened = Callable[[Any], None]


def session(config: Config, opened: Opened) -> Any:
    """A session for ``config``; ``opened(sock)`` is called with each socket that it connects."""
    import requests

    made = requests.Session()
    made.trust_env = False  # no netrc, no proxies and no CA bundles but those of the config
    adapter = _adapter(config, opened)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    proxy = config.proxy_url
    if proxy is not None:
        made.proxies = dict.fromkeys(("http", "https"), _in_full(proxy))
    return made


def _in_full(proxy: ProxyURL) -> str:
    """With user and password, in urllib3's spelling."""
    from urllib.parse import quote

    login = ""
    if proxy.user is not None:
        login = quote(proxy.user, safe="")
        login += ":" + quote(proxy.password or "", safe="") + "@"  # requests wants both
    return f"{proxy.scheme}://{login}{proxy.address}"


def _adapter(config: Config, opened: Opened) -> Any:
    from requests.adapters import HTTPAdapter

    tls = _tls(config)
    proxy = config.proxy_url
    tunnel = proxy is not None and proxy.scheme == "http" and not config.endpoint.secure

    class Adapter(HTTPAdapter):
        """Ours decides about TLS: requests would put its own bundle in its place."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.connection_pool_kw.update(tls)
            _watch(self.poolmanager, config, opened)

        def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
            fresh = proxy not in self.proxy_manager
            more = {"proxy_ssl_context": _proxy_context(config)} if proxy[:6] == "https:" else {}
            manager = super().proxy_manager_for(proxy, **kwargs, **more)
            if fresh:
                manager.connection_pool_kw.update(tls)
                if tunnel:  # the proxy's own, not for whom it leads to
                    manager.connection_pool_kw["_proxy_headers"] = {}
                _watch(manager, config, opened)
            return manager

        def request_url(self, request: Any, proxies: Any) -> str:
            return str(request.path_url) if tunnel else super().request_url(request, proxies)

        def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
            host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
            return host, {}

        def cert_verify(self, *args: Any, **kwargs: Any) -> None:
            pass

    return Adapter(max_retries=0)


def _tls(config: Config) -> dict[str, Any]:
    if not config.endpoint.secure:
        return {}
    pin = config.tls_fingerprint
    settings: dict[str, Any] = {"ssl_context": trust.context_of(config, threads=True)}
    if config.server_name is not None:
        settings["server_hostname"] = config.server_name
    if pin is not None:
        settings |= {"cert_reqs": "CERT_NONE", "assert_fingerprint": pin, "assert_hostname": False}
    return settings


def _proxy_context(config: Config) -> Any:
    return trust.context_of(Config(ca_file=config.ca_file), threads=True)


def _login(proxy: ProxyURL) -> dict[str, str]:
    if proxy.user is None:
        return {}
    both = f"{proxy.user}:{proxy.password or ''}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(both).decode()}"}


def _watch(manager: Any, config: Config, opened: Opened) -> None:
    """Have the pools of ``manager`` make connections that tell of their sockets."""
    kinds = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        connection = _connection(pool.ConnectionCls, config, opened)
        kinds[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = kinds


_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def _connection(base: Any, config: Config, opened: Opened) -> Any:
    import urllib3.connection

    direct = base in (urllib3.connection.HTTPConnection, urllib3.connection.HTTPSConnection)
    family = _FAMILIES.get(config.address_family)
    proxy = config.proxy_url
    plain = proxy is not None and proxy.scheme == "http" and not config.endpoint.secure
    tunnel = proxy if plain else None
    local = config.endpoint.host.rstrip(".") == "localhost" or config.endpoint.address is not None

    class Connection(base):  # type: ignore[misc]
        def connect(self) -> None:
            if tunnel:  # as the WebSocket goes: a proxy's own answers are told from the gateway's
                where = config.endpoint
                self.set_tunnel(where.host, where.port, _login(tunnel), scheme="http")
            super().connect()
            opened(self.sock)

        def _new_conn(self) -> Any:
            """With one address family asked for, the other is not even looked up."""
            if not direct or family is None or local or config.proxy_url is not None:
                return super()._new_conn()
            name: str = self._dns_host  # type: ignore[has-type]
            found = socket.getaddrinfo(name, self.port, family, socket.SOCK_STREAM)
            failure: Exception | None = None
            try:
                for address in dict.fromkeys(info[4][0] for info in found):
                    self._dns_host = address
                    try:
                        return super()._new_conn()
                    except Exception as error:
                        failure = error
            finally:
                self._dns_host = name
            raise failure or OSError("no address")

    return Connection
