"""The public HTTP API as the command line speaks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from comfylabel.errors import ComfyLabelError

_PATIENCE_SECONDS = 700  # the longest that the API makes anybody wait is a pilot, 600 s


class ApiError(ComfyLabelError):
    """The server refused, or did not answer."""


class Api:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **parameters: Any) -> Any:
        return await self._ask("GET", path, params=parameters)

    async def post(self, path: str, body: Any = None, *, form: aiohttp.FormData | None = None) -> Any:
        return await self._ask("POST", path, **({"data": form} if form else {"json": body}))

    async def patch(self, path: str, body: Any) -> Any:
        return await self._ask("PATCH", path, json=body)

    async def lines(self, path: str, **parameters: Any) -> AsyncIterator[bytes]:
        """A streamed answer, line by line. One that is cut off is an error, however many lines came."""
        buffered = b""
        async with self._session.get(path, params=parameters) as answer:
            if answer.status >= 400:  # noqa: PLR2004 - HTTP
                raise _refused(path, answer.status, await answer.json())
            try:
                async for piece in answer.content.iter_any():
                    *whole, buffered = (buffered + piece).split(b"\n")
                    for line in whole:
                        yield line
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiError(f"{path} was cut off: {error}") from error
        if buffered:
            yield buffered

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            async with self._session.request(method, path, **options) as answer:
                envelope = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(f"{self._session._base_url} does not answer as comfylabel does: {error}") from error  # noqa: SLF001 - it has no public name
        if not envelope["success"]:
            raise _refused(path, answer.status, envelope)
        return envelope["data"]


@asynccontextmanager
async def connect(origin: str, *, token: str | None = None) -> AsyncIterator[Api]:
    """With a token it speaks for that token's user; without one, for nobody until it signs in."""
    headers = {"Origin": origin} | ({"Authorization": f"Bearer {token}"} if token else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_read=_PATIENCE_SECONDS, sock_connect=10)
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address too
    async with aiohttp.ClientSession(origin, headers=headers, timeout=timeout, cookie_jar=jar) as session:
        yield Api(session)


async def sign_in(api: Api, link: str) -> None:
    await api.post("/api/auth/link", {"token": link.rsplit("token=", 1)[1]})


def _refused(path: str, status: int, envelope: Any) -> ApiError:
    said = envelope.get("error", "no reason given")
    return ApiError(f"{path}: {said}" if status < 500 else f"{path} failed: {said}", code=envelope.get("code"))  # noqa: PLR2004 - HTTP
