"""A large body is read for nobody but an admin."""

from collections.abc import AsyncIterator

import pytest

from tests.support.app import Api

PIECE = b" " * 2**18
PIECES = 12  # 3 MB
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("annotator", 403), ("operator", 403), ("admin", 422)])
@pytest.mark.parametrize("path", ["/api/variable-pools", "/api/variable-pools/x/versions", "/api/workflows"])
async def test_only_an_admin_has_a_large_body_read(api: Api, path: str, role: str | None, status: int):
    client = api.anonymous if role is None else await api.as_role(role)
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(PIECES):
            read += 1
            yield PIECE

    streamed = await client.post(path, content=body(), headers=JSON | {"transfer-encoding": "chunked"})
    announced = await client.post(path, content=PIECE * PIECES, headers=JSON)

    assert (streamed.status_code, announced.status_code) == (status, status)
    if role != "admin":
        assert read <= 1, "the server began to read"


async def test_a_token_that_is_an_admins_will_do(api: Api):
    program = await api.with_token("admin")

    answer = await program.post("/api/variable-pools", content=PIECE * PIECES, headers=JSON)

    assert answer.status_code == 422


async def test_a_small_body_is_judged_by_its_route(api: Api):
    operator = await api.as_role("operator")

    assert (await operator.post("/api/variable-pools", json={})).status_code == 403
    assert (await api.anonymous.post("/api/workflows", content=b"")).status_code == 401
