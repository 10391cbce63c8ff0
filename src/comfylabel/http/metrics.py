"""Requests as Prometheus counts them: by method, route and status; never by path, which would hold ids."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comfylabel.db.pool import Database

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One registry an application: two in one process (tests) do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "comfylabel_http_requests_total",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "comfylabel_http_request_seconds",
            "Time to the first byte of the answer",
            ["method", "route"],
            registry=self.registry,
        )
        self.connections = Gauge(
            "comfylabel_database_connections", "Connections to PostgreSQL", ["state"], registry=self.registry
        )

    def answer(self, database: Database, more: Iterable[Metric] = ()) -> Response:
        """`more`: what is counted elsewhere, in the database for one."""
        idle, size = database.pool.get_idle_size(), database.pool.get_size()
        self.connections.labels("idle").set(idle)
        self.connections.labels("busy").set(size - idle)
        text = generate_latest(self.registry) + generate_latest(_Given(more))
        return Response(text, media_type=CONTENT_TYPE)


class _Given(CollectorRegistry):
    """A registry of what was just counted."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class CountRequests:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(scope["method"], route, str(message["status"])).inc()
                self._metrics.seconds.labels(scope["method"], route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
