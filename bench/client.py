"""An HTTP client that does as little as a client can: one kept connection, blocking, JSON both ways.

A client that costs as much as the server it measures would measure itself.
"""

import socket
import time
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

IDLE_SECONDS = 2.0  # servers close a connection on which nothing comes for 5 s
GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say: with a gzip header
# What Chromium sends with a fetch of the labelling page; both sides get it.
OF_A_BROWSER = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "accept-language": "en-US,en;q=0.9",
    "content-type": "application/json",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Refused(Exception):
    """The server answered with an error."""


class Client:
    def __init__(self, origin: str) -> None:
        self._address = urlsplit(origin)
        self._socket = self._connection()
        self._used = time.monotonic()
        self._rest = b""
        self.headers = OF_A_BROWSER | {"host": self._address.netloc, "origin": origin}

    def post(self, path: str, body: object) -> Answer:
        """Raises Refused with the server's words."""
        if time.monotonic() > self._used + IDLE_SECONDS:
            self._socket.close()
            self._socket = self._connection()
        self._socket.sendall(self._request(path, orjson.dumps(body)))
        answer = self._answer()
        self._used = time.monotonic()
        if answer.status >= 400:
            raise Refused(f"POST {path} answered {answer.status}: {answer.body}")
        return answer

    def sign_in(self, link: str) -> None:
        """Use a sign-in link; the cookie goes with every request from now on."""
        answer = self.post("/api/auth/link", {"token": urlsplit(link).fragment.removeprefix("token=")})
        self.headers["cookie"] = answer.headers["set-cookie"].split(";", 1)[0]

    def close(self) -> None:
        self._socket.close()

    def _connection(self) -> socket.socket:
        assert self._address.hostname
        assert self._address.port
        connection = socket.create_connection((self._address.hostname, self._address.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _request(self, path: str, body: bytes) -> bytes:
        lines = [f"POST {path} HTTP/1.1", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _answer(self) -> Answer:
        received = self._rest
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        first, *lines = received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers["content-length"])
        body = received[end + 4 :]
        while len(body) < size:
            body += self._more()
        body, self._rest = body[:size], body[size:]
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, GZIP)
        return Answer(int(first.split(" ", 2)[1]), headers, orjson.loads(body) if body else None)

    def _more(self) -> bytes:
        part = self._socket.recv(262_144)
        if not part:
            raise Refused("the server closed the connection")
        return part
