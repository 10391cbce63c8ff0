"""Speaks to one ComfyUI worker and trusts nothing it says: sizes and times are limited, redirects are never
followed, and every answer is checked before it becomes one of the types in schemas.py.

A POST /prompt is never repeated here: a worker queues the same id twice without a word. Who gets
`SubmissionUnclear` looks in `queue()` and then in `history()` before sending again.
"""

import asyncio
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from aiohttp.client_exceptions import ConnectionTimeoutError
from yarl import URL

from comfylabel.comfy.errors import SubmissionUnclear, WorkerMisbehaved, WorkerUnreachable
from comfylabel.comfy.graph import Graph
from comfylabel.comfy.reasons import reason
from comfylabel.comfy.refusals import refusal
from comfylabel.comfy.schemas import (
    Event,
    HistoryEntry,
    OutputImage,
    QueueSnapshot,
    SystemStats,
    UnexpectedShape,
)

Parsed = TypeVar("Parsed")

# The longest JSON taken. A queue repeats the graph of everything in it: 1000 of 20 kB are 20 MB. /object_info is
# 1.4 MB for 811 nodes, and repeats the names of all models in every node that loads one. A history has one graph, and
# what its nodes wrote.
MAX_JSON_BYTES = {"/system_stats": 2**20, "/queue": 32 * 2**20, "/history": 16 * 2**20, "/object_info": 32 * 2**20}
MAX_OTHER_JSON_BYTES = 4 * 2**20
# One byte of JSON becomes up to 30 in memory ("[[[["): so many values are some 200 MB at worst. 20 MB of queue are
# 600 thousand.
MAX_JSON_VALUES = 3_000_000
# The product's ceiling unless the settings say otherwise.
MAX_IMAGE_BYTES = 256 * 2**20
# json.loads takes about 10 ms for this much: more is parsed off the event loop.
PARSE_IN_THREAD_BYTES = 256 * 2**10
CHUNK_BYTES = 256 * 2**10
# Preview and SaveImageWebsocket frames hold a whole picture; a larger one ends the socket: it is but a hint.
MAX_FRAME_BYTES = 64 * 2**20
# An interruption by id exists since then; an older server interrupts whatever runs, be it a stranger's.
INTERRUPTS_BY_ID = (0, 3, 57)
# POST /api/jobs/{id}/cancel looks and interrupts in one step, so it can never hit the job after ours.
CANCELS_ATOMICALLY = (0, 26, 0)

# Frames that come at every step of every node, as ComfyUI writes them; nobody reads them, so they are not parsed. That
# a submission has begun is told before them, and its end is the `executing` that names no node.
_COURSE = ('{"type": "progress', '{"type": "executed"', '{"type": "executing", "data": {"node": "')

# What proves that not one byte of the request was sent.
NEVER_SENT = (aiohttp.ClientConnectorError, ConnectionTimeoutError, aiohttp.InvalidURL)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one request may take, its whole answer included."""

    connect: float = 5
    system_stats: float = 5
    queue: float = 2
    history: float = 15
    submit: float = 30
    control: float = 5
    object_info: float = 60
    image: float = 300
    image_silence: float = 30  # between two pieces of a picture
    websocket_heartbeat: float = 20


@asynccontextmanager
async def worker_session(resolver: AbstractResolver | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """For any number of workers: no shared cookies, no proxy from the environment, no common limit."""
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield session


class ComfyClient:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_image_bytes: int = MAX_IMAGE_BYTES,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._session = session
        self._base = URL(base_url.rstrip("/"))
        self._shown = str(self._base.with_user(None))
        # To this server only: redirects are never followed.
        self._headers = dict(headers or {}) | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._max_image_bytes = max_image_bytes
        self._timeouts = timeouts or Timeouts()

    async def system_stats(self) -> SystemStats:
        return await self._get("/system_stats", SystemStats.from_json, self._timeouts.system_stats)

    async def queue(self) -> QueueSnapshot:
        return await self._get("/queue", QueueSnapshot.from_json, self._timeouts.queue)

    async def history(self, submission_id: str) -> HistoryEntry | None:
        """None while it waits or runs, and for an id that the worker does not know or has forgotten."""

        def parse(document: Any) -> HistoryEntry | None:
            if not isinstance(document, dict):
                raise UnexpectedShape("the answer is no object")
            return HistoryEntry.from_json(document[submission_id]) if submission_id in document else None

        return await self._get(f"/history/{submission_id}", parse, self._timeouts.history)

    async def object_info(self, class_type: str | None = None) -> dict[str, Any]:
        """Every node class of the worker, or one; {} when it has no such class."""

        def parse(document: Any) -> dict[str, Any]:
            if not (isinstance(document, dict) and all(isinstance(info, dict) for info in document.values())):
                raise UnexpectedShape("the answer is no object of node classes")
            return document

        path = "/object_info" if class_type is None else f"/object_info/{class_type}"
        return await self._get(path, parse, self._timeouts.object_info)

    async def submit(
        self,
        graph: Graph,
        submission_id: str,
        *,
        client_id: str | None = None,
        extra_data: dict[str, Any] | None = None,
    ) -> None:
        """Returns when the worker has queued the whole graph; any doubt is SubmissionUnclear."""
        body: dict[str, Any] = {"prompt": graph, "prompt_id": submission_id}
        if client_id is not None:
            body["client_id"] = client_id
        if extra_data is not None:
            body["extra_data"] = extra_data
        status, document = await self._post_prompt(body)
        refused = refusal(status, document)
        if refused is not None:
            if status == HTTPStatus.OK:  # the valid part of the graph was queued
                await self._take_back(submission_id)
            raise refused
        if not (isinstance(document, dict) and document.get("prompt_id") == submission_id):
            raise SubmissionUnclear(f"{self._shown}/prompt answered {status} without our id.")

    async def delete_queued(self, ids: Iterable[str]) -> None:
        """Takes waiting submissions out of the queue; running and unknown ones are left alone."""
        await self._post("/queue", {"delete": list(ids)})

    async def interrupt(self, submission_id: str) -> bool:
        """Stops this submission if it is the one that runs; False: the worker is too old to stop just one."""
        version = (await self.system_stats()).version_numbers
        if version < INTERRUPTS_BY_ID:
            return False
        if version >= CANCELS_ATOMICALLY and await self._cancel_job(submission_id):
            return True
        await self._post("/interrupt", {"prompt_id": submission_id})
        return True

    async def interrupt_whatever_runs(self) -> None:
        """Be it a stranger's: only for a person who said so."""
        await self._post("/interrupt", {})

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Unloads models and empties the execution cache, after the job that runs."""
        await self._post("/free", {"unload_models": unload_models, "free_memory": free_memory})

    async def view(self, image: OutputImage) -> AsyncGenerator[bytes, None]:
        """The file's bytes as they arrive. Whether they are a picture is for the reader to find out."""
        query = {"filename": image.filename, "subfolder": image.subfolder, "type": image.type}
        timeout = aiohttp.ClientTimeout(
            total=self._timeouts.image,
            sock_connect=self._timeouts.connect,
            sock_read=self._timeouts.image_silence,
        )
        async with self._request("GET", "/view", timeout=timeout, params=query) as response:
            self._check_status(response, "/view")
            self._check_type(response, "/view", "image/")
            async for chunk in self._limited(response, "/view", self._max_image_bytes):
                yield chunk

    async def listen(self, client_id: str) -> AsyncGenerator[Event, None]:
        """What happens on the worker until the socket drops. Use a fresh client_id for each connection:
        when an older socket with the same one closes, ComfyUI silences the newer.
        """
        url = self._url("/ws").with_query(clientId=client_id)
        # Its own session over the same connections: only a session can refuse a redirect of a handshake.
        async with aiohttp.ClientSession(
            connector=self._session.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_refuse_redirect,),
        ) as session:
            try:
                async with session.ws_connect(
                    url,
                    headers=self._headers,
                    heartbeat=self._timeouts.websocket_heartbeat,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._timeouts.control),
                ) as socket:
                    async for message in socket:
                        event = _event(message)
                        if event is not None:
                            yield event
            except aiohttp.WSServerHandshakeError as error:
                raise self._unexpected_status("/ws", error.status) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise WorkerUnreachable(f"{self._shown}/ws: {reason(error)}") from error

    async def _get(self, path: str, parse: Callable[[Any], Parsed], seconds: float) -> Parsed:
        async with self._request("GET", path, timeout=self._timeout(seconds)) as response:
            self._check_status(response, path)
            document = await self._json(response, path)
        try:
            return parse(document)
        except ValueError as error:
            raise self._strange(path, error) from error

    async def _json(self, response: aiohttp.ClientResponse, path: str) -> Any:
        self._check_type(response, path, "application/json")
        limit = MAX_JSON_BYTES.get(f"/{path.split('/')[1]}", MAX_OTHER_JSON_BYTES)
        body = b"".join([chunk async for chunk in self._limited(response, path, limit)])
        try:
            return await _parse_json(body)
        except _TooManyValues as error:
            raise WorkerMisbehaved(f"{self._shown}{path} answered with {error}.", kind="too_large") from error
        except (ValueError, RecursionError) as error:
            raise self._strange(path, error) from error

    def _strange(self, path: str, error: Exception) -> WorkerMisbehaved:
        return WorkerMisbehaved(f"{self._shown}{path} did not answer as ComfyUI does: {reason(error)}", kind="protocol")

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        """A control request: 200 with nothing worth reading."""
        timeout = self._timeout(self._timeouts.control)
        async with self._request("POST", path, timeout=timeout, json=body) as response:
            self._check_status(response, path)

    async def _cancel_job(self, submission_id: str) -> bool:
        timeout = self._timeout(self._timeouts.control)
        async with self._request("POST", f"/api/jobs/{submission_id}/cancel", timeout=timeout) as response:
            return response.status == HTTPStatus.OK  # a proxy may let only the classic paths through

    async def _post_prompt(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of an answer that is surely ComfyUI's own: 200 or 400."""
        try:
            async with self._session.post(
                self._url("/prompt"),
                data=_body(body),
                headers=self._headers | {"Content-Type": "application/json"},
                timeout=self._timeout(self._timeouts.submit),
                allow_redirects=False,
            ) as response:
                if response.status not in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
                    raise self._unexpected_status("/prompt", response.status)
                return response.status, await self._json(response, "/prompt")
        except NEVER_SENT as error:
            raise WorkerUnreachable(f"{self._shown}/prompt: {reason(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SubmissionUnclear(f"{self._shown}/prompt was cut off: {reason(error)}") from error
        except WorkerMisbehaved as error:
            if error.http_status is not None and error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # a proxy's own answer: the submission never passed it
            raise SubmissionUnclear(error.message) from error

    async def _take_back(self, submission_id: str) -> None:
        """A graph of which one branch is invalid is queued without it; its pictures would be a lie."""
        try:
            await self.delete_queued([submission_id])
            await self.interrupt(submission_id)
        except (WorkerUnreachable, WorkerMisbehaved):
            return  # it runs for nothing: nobody follows a refused id

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own, with a part for the connection
        **arguments: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request whose failure changes nothing, or may be repeated without harm."""
        try:
            async with self._session.request(
                method,
                self._url(path),
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,
                **arguments,
            ) as response:
                yield response
        except aiohttp.ClientPayloadError as error:
            raise WorkerMisbehaved(f"{self._shown}{path} was cut off: {reason(error)}", kind="network") from error
        except TimeoutError as error:
            seconds = f" within {timeout.total:g} s" if timeout.total else ""
            raise WorkerUnreachable(f"No answer from {self._shown}{path}{seconds}.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise WorkerUnreachable(f"No answer from {self._shown}{path}: {reason(error)}") from error

    def _check_status(self, response: aiohttp.ClientResponse, path: str) -> None:
        if response.status != HTTPStatus.OK:
            raise self._unexpected_status(path, response.status)

    def _check_type(self, response: aiohttp.ClientResponse, path: str, expected: str) -> None:
        if not response.content_type.startswith(expected):
            raise WorkerMisbehaved(
                f"{self._shown}{path} answered with {response.content_type}, not {expected.rstrip('/')}. "
                "Is this a ComfyUI?",
                kind="protocol",
            )

    def _unexpected_status(self, path: str, status: int) -> WorkerMisbehaved:
        where = f"{self._shown}{path} answered {status}"
        if 300 <= status < 400:  # noqa: PLR2004 - 3xx
            return WorkerMisbehaved(
                f"{where}: redirects are not followed, give the server's own address.",
                kind="protocol",
                http_status=status,
            )
        if status in {401, 403, 407}:
            return WorkerMisbehaved(
                f"{where}: the API key is missing or not accepted.", kind="proxy_auth", http_status=status
            )
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return WorkerMisbehaved(f"{where}: too large for it.", kind="too_large", http_status=status)
        return WorkerMisbehaved(
            f"{where}.",
            kind="network" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "protocol",
            http_status=status,
        )

    async def _limited(self, response: aiohttp.ClientResponse, path: str, limit: int) -> AsyncGenerator[bytes, None]:
        """The body, given up as soon as it is longer than it may be, or announces to be."""
        received = response.content_length or 0
        if received <= limit:
            received = 0
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                received += len(chunk)
                if received > limit:
                    break
                yield chunk
        if received > limit:
            raise WorkerMisbehaved(
                f"{self._shown}{path} answered with more than {limit / 2**20:g} MiB.", kind="too_large"
            )

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, self._timeouts.connect))

    def _url(self, path: str) -> URL:
        """A base_url may have a path of its own; a node class or an id may hold any character."""
        return self._base.joinpath(*path.removeprefix("/").split("/"))


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if 300 <= response.status < 400:  # noqa: PLR2004 - 3xx
        response.close()
        raise aiohttp.WSServerHandshakeError(response.request_info, (), status=response.status, message="redirect")
    return response


class _TooManyValues(Exception):
    """JSON that would fill the memory once it is unpacked."""


async def _parse_json(body: bytes) -> Any:
    if len(body) > PARSE_IN_THREAD_BYTES:
        return await asyncio.to_thread(_loads, body)
    return _loads(body)


def _loads(body: bytes) -> Any:
    """json, not orjson: ComfyUI's own answers hold NaN and lone surrogates when somebody's graph does."""
    # Commas within texts count too; no worker writes that many of them.
    if len(body) > MAX_JSON_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise _TooManyValues(f"more than {MAX_JSON_VALUES // 10**6} million values")
    return json.loads(body)


def _body(document: dict[str, Any]) -> io.BytesIO:
    """By orjson, because json takes ten times as long and a graph may have megabytes; json takes what orjson refuses.
    As a file, which aiohttp sends piece by piece.
    """
    try:
        return io.BytesIO(orjson.dumps(document))
    except TypeError:
        return io.BytesIO(json.dumps(document).encode())


def _event(message: aiohttp.WSMessage) -> Event | None:
    """None for previews, for the course of a job, and for anything that is no frame of ComfyUI's."""
    if message.type is not aiohttp.WSMsgType.TEXT or message.data.startswith(_COURSE):
        return None
    try:
        return Event.from_json(json.loads(message.data))
    except (ValueError, RecursionError):
        return None
