"""The whole API in this process on a real database, and clients signed in as each role."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from comfylabel.accounts.schemas import Role
from comfylabel.accounts.service import AccountService
from comfylabel.main import create_app
from comfylabel.settings import Settings

ORIGIN = "http://127.0.0.1:8765"


@dataclass
class Api:
    """`anonymous`, or `await as_role("operator")`: a client with that role's session and our Origin."""

    app: FastAPI
    settings: Settings
    anonymous: httpx.AsyncClient
    _clients: dict[Role, httpx.AsyncClient] = field(default_factory=dict)

    @property
    def accounts(self) -> AccountService:
        service: AccountService = self.app.state.accounts
        return service

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A browser of its own: no cookie shared with the others."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url=self.settings.origin,
            headers={"origin": self.settings.origin} | headers,
            timeout=60,
        )

    async def as_role(self, role: Role | str) -> httpx.AsyncClient:
        """The same client and the same user each time; named after the role."""
        role = Role(role)
        if role not in self._clients:
            self._clients[role] = await self.sign_in(role, role.value)
        return self._clients[role]

    async def sign_in(self, role: Role | str, name: str) -> httpx.AsyncClient:
        """A new user of that role, signed in through their invitation."""
        if role == Role.ADMIN and name == "admin":
            url = (await self.accounts.ensure_admin_link()).url
        else:
            admin = await self.as_role(Role.ADMIN)
            answer = await admin.post("/api/users", json={"name": name, "role": str(role)})
            assert answer.status_code == 201, answer.text
            url = answer.json()["data"]["sign_in_link"]["url"]
        client = self.client()
        answer = await client.post("/api/auth/link", json={"token": token_of(url)})
        assert answer.status_code == 200, answer.text
        return client

    async def with_token(self, role: Role | str) -> httpx.AsyncClient:
        """A client that speaks with an API token of that role's user and has no cookie."""
        answer = await (await self.as_role(role)).post("/api/tokens", json={"name": "test"})
        assert answer.status_code == 201, answer.text
        return self.client(authorization=f"Bearer {answer.json()['data']['token']}")


def token_of(link: str) -> str:
    return urlsplit(link).fragment.removeprefix("token=")


@asynccontextmanager
async def running_api(settings: Settings, database_url: str) -> AsyncIterator[Api]:
    app = create_app(settings, database_url=database_url)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url=settings.origin, headers={"origin": settings.origin}, timeout=60
        ) as anonymous:
            yield Api(app, settings, anonymous)


def settings_for(data_dir: Path, **changes: object) -> Settings:
    """Settings that the test states whole: the environment of whoever runs the tests changes nothing."""
    return Settings.model_validate({"data_dir": data_dir, "port": 8765, **changes})


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(settings_for(tmp_path / "data"), database_url) as running:
        yield running
