"""Names of workers, looked up again for each connection: one that was harmless when it was registered may lead
elsewhere now.
"""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from comfylabel.workers.base_url import why_forbidden


class GuardedResolver(AbstractResolver):
    """Of a name's addresses only those that a worker may have."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if why_forbidden(result["host"]) is None]
        if found and not allowed:
            raise OSError(f"{host} leads to {found[0]['host']}, where nothing is sent")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
