"""What a variant switches in the labelling screen, and who gets which one there."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.ab_tests.bucketing import Variant, VariantSettings, propose
from comfylabel.ab_tests.service import AbTestService
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.errors import InvalidField
from tests.support.app import Api, running_api, settings_for
from tests.support.rows import add_user
from tests.support.unchanged import nothing_changes

CDN, OTHER_CDN = "https://cdn.example", "https://other.example:8443"
NO_SETTINGS = {"prefetch_batches": None, "image_size": None, "cdn_url": None}
DEEP = VariantSettings(prefetch_batches=12, image_size=1024, cdn_url=OTHER_CDN)
VARIANTS = [Variant("A", 0.5), Variant("B", 0.5, DEEP)]


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = settings_for(tmp_path, cdn_url=CDN, cdn_alternatives=f"{OTHER_CDN}/ https://third.example")
    async with running_api(settings, database_url) as running:
        yield running


@pytest.fixture
def service(database: Database) -> AbTestService:
    return AbTestService(database, (CDN, OTHER_CDN))


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=30)


async def test_settings_are_stored_and_come_back(api: Api):
    admin = await api.as_role("admin")
    asked = {"prefetch_batches": 3, "image_size": 256, "cdn_url": f"{OTHER_CDN.upper()}/"}
    variants = [{"key": "A", "weight": 0.5}, {"key": "B", "weight": 0.5, "settings": asked}]
    answer = await admin.post(
        "/api/ab-tests", json={"name": "t", "variants": variants, "expires_at": later().isoformat()}
    )

    assert answer.status_code == 201, answer.text
    assert [variant["settings"] for variant in answer.json()["data"]["variants"]] == [
        NO_SETTINGS,
        asked | {"cdn_url": OTHER_CDN},
    ]
    assert (await admin.get("/api/ab-tests")).json()["data"] == [answer.json()["data"]]


@pytest.mark.parametrize("cdn_url", ["https://evil.example", "http://cdn.example", f"{CDN}/images", "", "x; img-src *"])
async def test_images_come_from_configured_origins_only(api: Api, database: Database, cdn_url: str):
    admin = await api.as_role("admin")
    variants = [{"key": "A", "weight": 1, "settings": {"cdn_url": cdn_url}}]
    async with nothing_changes(database):
        answer = await admin.post(
            "/api/ab-tests", json={"name": "t", "variants": variants, "expires_at": later().isoformat()}
        )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["data"]["errors"] == [
        {
            "path": "variants[0].settings.cdn_url",
            "error": "must be https://cdn.example or https://other.example:8443 or https://third.example",
        }
    ]


async def test_a_browser_may_load_images_from_all_of_them(api: Api):
    policy = (await api.anonymous.get("/")).headers["content-security-policy"]
    assert "img-src 'self' blob: data: https://cdn.example https://other.example:8443 https://third.example;" in policy
    assert "connect-src 'self';" in policy


async def add_test(service: AbTestService) -> UUID:
    created = await service.create("t", VARIANTS, later())
    return created.id


async def test_the_peek_says_what_the_first_use_will_store(service: AbTestService, database: Database):
    test = await add_test(service)
    async with database.connection() as connection:
        people = [await add_user(connection, f"user {number}") for number in range(12)]

    async with nothing_changes(database), database.connection() as connection:
        proposed = [await service.proposed(connection, test, person) for person in people]
    async with database.transaction() as connection:
        assigned = [await service.assigned(connection, test, person) for person in people]

    assert proposed == assigned
    assert {variant.key for variant in assigned if variant} == {"A", "B"}
    by_key = {variant.key: variant for variant in VARIANTS}
    assert assigned == [by_key[variant.key] for variant in assigned if variant]


async def test_the_peek_believes_the_stored_row_and_not_the_hash(service: AbTestService, database: Database):
    test = await add_test(service)
    async with database.transaction() as connection:
        ann = await add_user(connection, "ann")
        hashed = propose(test, ann, VARIANTS)
        other = "B" if hashed == "A" else "A"
        await connection.execute(
            "insert into ab_assignments (id, test_id, user_id, variant_key) values ($1, $2, $3, $4)",
            uuid7(),
            test,
            ann,
            other,
        )
        proposed = await service.proposed(connection, test, ann)

    assert proposed is not None
    assert proposed.key == other


async def test_after_expiry_a_new_person_has_the_first_variant_and_no_row(service: AbTestService, database: Database):
    test = await add_test(service)
    async with database.transaction() as connection:
        old = await add_user(connection, "old")
        sticky = await service.assigned(connection, test, old)
        await connection.execute("update ab_tests set expires_at = now() - interval '1 second'")
        new = [
            await add_user(connection, f"new {number}") for number in range(12)
        ]  # the hash would give some of them B

    async with nothing_changes(database), database.transaction() as connection:
        assert await service.proposed(connection, test, old) == sticky
        assert await service.assigned(connection, test, old) == sticky
        assert {await service.proposed(connection, test, person) for person in new} == {VARIANTS[0]}
        assert {await service.assigned(connection, test, person) for person in new} == {VARIANTS[0]}


async def test_a_cdn_that_was_taken_out_of_the_settings_is_not_used_any_more(
    service: AbTestService, database: Database
):
    test = await add_test(service)
    smaller = AbTestService(database, (CDN,))
    async with database.transaction() as connection:
        people = [await add_user(connection, f"user {number}") for number in range(12)]
        variants = [await smaller.assigned(connection, test, person) for person in people]

    (deep,) = {variant for variant in variants if variant and variant.key == "B"}
    assert deep.settings == VariantSettings(prefetch_batches=12, image_size=1024)


async def test_a_test_made_before_variants_had_settings_says_nothing_of_them(
    service: AbTestService, database: Database
):
    async with database.transaction() as connection:
        ann, test = await add_user(connection, "ann"), uuid7()
        await connection.execute(
            "insert into ab_tests (id, name, variants, expires_at) values ($1, 'old', $2, $3)",
            test,
            [{"key": "A", "weight": 1}],
            later(),
        )
        variant = await service.assigned(connection, test, ann)

    assert variant is not None
    assert variant.as_json() == {"key": "A"} | NO_SETTINGS


async def test_many_first_uses_at_once_are_one_assignment(service: AbTestService, database: Database):
    test = await add_test(service)
    async with database.connection() as connection:
        ann = await add_user(connection, "ann")

    async def first_use() -> Variant | None:
        async with database.transaction() as connection:
            return await service.assigned(connection, test, ann)

    variants = await asyncio.gather(*(first_use() for _ in range(8)))

    assert len(set(variants)) == 1
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from ab_assignments") == 1


async def test_a_test_that_is_gone_has_no_variant(service: AbTestService, database: Database):
    async with database.connection() as connection:
        ann = await add_user(connection, "ann")
        assert await service.proposed(connection, uuid7(), ann) is None
        assert await service.assigned(connection, uuid7(), ann) is None


origins = st.sampled_from([CDN, OTHER_CDN, "https://evil.example", f"{CDN}/", f"{CDN}.evil.example", "", "*", "data:"])


@given(st.lists(origins, min_size=1, max_size=5))
def test_no_test_is_made_whose_images_a_browser_would_refuse(urls: list[str]):
    from comfylabel.ab_tests.service import _check_variants, _with_plain_origin  # noqa: PLC0415 - the rule itself

    weight = 1 / len(urls)
    variants = [Variant(str(i), weight, VariantSettings(cdn_url=url)) for i, url in enumerate(urls)]
    plain = [_with_plain_origin(variant) for variant in variants]
    wrong = [i for i, variant in enumerate(plain) if variant.settings.cdn_url not in (CDN, OTHER_CDN)]
    if wrong:
        with pytest.raises(InvalidField, match=rf"^variants\[{wrong[0]}\]\.settings\.cdn_url "):
            _check_variants(plain, (CDN, OTHER_CDN))
    else:
        _check_variants(plain, (CDN, OTHER_CDN))
