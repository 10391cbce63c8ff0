"""One web server process: uvicorn around the API, and the sign-in link that every start prints."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from comfylabel.cli.database import open_database, require_current
from comfylabel.cli.settings import listen
from comfylabel.http.connections import PatientProtocol
from comfylabel.main import create_app
from comfylabel.settings import Settings

_GRACE_SECONDS = 2  # for answers that are being sent when the server is told to stop


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals cancel the command that runs this server (cli.running)."""
        yield


async def serve_on_database(settings: Settings, *, listener: int | None, announce: bool) -> None:
    """`listener`: the number of an open socket that somebody else keeps."""
    inherited = socket.socket(fileno=listener) if listener is not None else None
    async with open_database(settings) as url:
        await require_current(settings, url)
        await serve(settings, url, listener=inherited, announce=announce)


async def serve(settings: Settings, database_url: str, *, listener: socket.socket | None, announce: bool) -> None:
    """Until cancelled. Without a listener it binds host and port itself."""
    if listener is None:
        listener, settings = listen(settings)
    app = create_app(settings, database_url=database_url)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if announce and server.started:
            await print_address(app, settings)
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        if server.started:
            app.state.live.close()  # a stream has no end of its own: uvicorn would wait for it
        server.should_exit = True
        await serving
        raise
    finally:
        listening.cancel()
    if not server.started:
        sys.exit(1)  # uvicorn has logged why


async def print_address(app: FastAPI, settings: Settings) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if settings.auth == "off":
        console.print(f"ComfyUI Data Label: [link={settings.origin}]{settings.origin}[/link] (everybody is admin)")
        return
    link = (await app.state.accounts.ensure_admin_link(origin=settings.origin)).url
    console.print(
        f"ComfyUI Data Label at {settings.origin}\nSign in, within 10 minutes and once: [link={link}]{link}[/link]"
    )
    if not _is_loopback(settings.origin):
        _print_qr_code(link)


def _is_loopback(origin: str) -> bool:
    host = origin.split("://", 1)[1].rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _print_qr_code(link: str) -> None:
    import qrcode

    code = qrcode.QRCode(border=1)
    code.add_data(link)
    code.print_ascii(tty=False)
