import asyncio

from tests.support.app import Api, token_of


async def test_the_first_start_link_signs_an_admin_in(api: Api):
    admin = await api.as_role("admin")

    answer = await admin.get("/api/me")

    assert answer.json()["data"] | {"id": ""} == {"id": "", "name": "admin", "role": "admin"}


async def test_a_link_works_once_even_when_two_browsers_open_it_together(api: Api):
    token = token_of((await api.accounts.ensure_admin_link()).url)
    browsers = [api.client() for _ in range(4)]

    answers = await asyncio.gather(
        *(browser.post("/api/auth/link", json={"token": token}) for browser in browsers)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
