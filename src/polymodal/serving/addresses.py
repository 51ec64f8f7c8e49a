"""Files at public addresses of the network, fetched for a request where the owner of the server allows it."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from polymodal.serving.errors import ApiError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether anybody can reach it: no loopback, no private network, no address that stands for one of these."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return address.is_global and not address.is_multicast and (inner is None or is_public(inner))


class Addresses:
    """Fetches what a URL holds.

    A name is looked up once and the connection goes to the very address that was checked, so that a name that changes
    its mind leads nowhere. Nothing is followed to another place, no proxy and no password of the machine is used.

    Args:
        most_bytes: Of a file.
        seconds: For all of it.
        permitted: Which addresses may be asked.
    """

    def __init__(self, most_bytes: int, seconds: float = 20.0, permitted: Callable[[Address], bool] = is_public):
        self.most_bytes, self.seconds, self.permitted = most_bytes, seconds, permitted

    def __call__(self, url: str, param: str) -> bytes:
        """The content at a URL of the schemes http and https.

        Raises:
            ApiError: The address is not permitted, or does not answer with a file of permitted size in time.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            host = (parts.hostname or "").encode("idna").decode()
        except (KeyError, ValueError):
            raise self._refused(param, "is no address that begins with http:// or https://") from None
        if not host or parts.username or not url.isascii() or not url.isprintable():
            raise self._refused(param, "is no plain address")
        try:
            connection = self._connect(parts.scheme, host, port, param)
        except (OSError, ValueError):
            raise self._refused(param, "does not answer") from None
        over = threading.Timer(self.seconds, _give_up, [connection.sock])
        over.start()
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Accept": "*/*", "Connection": "close"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._refused(param, f"answers with status {answer.status}, where 200 would be right")
            content = answer.read(self.most_bytes + 1)
        except (OSError, ValueError, http.client.HTTPException):
            raise self._refused(param, "does not answer as it should") from None
        finally:
            over.cancel()
            connection.close()
        if len(content) > self.most_bytes:
            raise self._refused(param, f"holds more than {self.most_bytes:,} bytes")
        return content

    def _connect(self, scheme: str, host: str, port: int, param: str) -> http.client.HTTPConnection:
        found = [str(place[0]) for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if not all(self.permitted(ipaddress.ip_address(place.partition("%")[0])) for place in found):
            raise self._refused(param, "is not a public address")
        reached = socket.create_connection((found[0], port), timeout=self.seconds)
        if scheme == "https":
            reached = ssl.create_default_context().wrap_socket(reached, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=self.seconds)
        connection.sock = reached  # it is connected: to the address that was checked
        return connection

    def _refused(self, param: str, why: str) -> ApiError:
        return ApiError(400, f"{param}: {why}", param=param)


def _give_up(reached: socket.socket) -> None:
    """Ends whatever waits for a socket, however slowly it drips."""
    with suppress(OSError):
        reached.shutdown(socket.SHUT_RDWR)
