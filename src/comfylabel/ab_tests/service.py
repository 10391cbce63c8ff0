"""Rules of A/B tests: weights are a distribution, an assignment sticks, an expired test takes nobody new."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from comfylabel.ab_tests import repository
from comfylabel.ab_tests.bucketing import WEIGHT_TOLERANCE, Variant, propose, repeated_key, weights_sum
from comfylabel.ab_tests.schemas import AbTest
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import Conflict, InvalidField, NotFound


class AbTestService:
    """`image_origins`: where images may come from; a browser is told to take them from nowhere else."""

    def __init__(self, database: Database, image_origins: Collection[str] = ()) -> None:
        self._database = database
        self._image_origins = image_origins

    async def list_all(self) -> list[AbTest]:
        async with self._database.connection() as connection:
            return await repository.list_all(connection)

    async def create(self, name: str, variants: Sequence[Variant], expires_at: datetime) -> AbTest:
        variants = [_with_plain_origin(variant) for variant in variants]
        _check_variants(variants, self._image_origins)
        async with self._database.transaction() as connection:
            created = await repository.insert(connection, uuid7(), name, variants, expires_at)
        if created is None:
            raise Conflict(f'There is an A/B test named "{name}" already.', code="name_taken")
        return created

    async def assign(self, test_name: str, user_id: UUID) -> str:
        async with self._database.transaction() as connection:
            test = await repository.by_name(connection, test_name)
            if test is None:
                raise NotFound(f'There is no A/B test named "{test_name}".')
            if not await repository.user_exists(connection, user_id):
                raise NotFound(f"There is no user {user_id}.")
            return await _sticky_key(connection, test, user_id)

    async def variant_of(self, connection: Connection, test_id: UUID, user_id: UUID) -> str | None:
        """For the stamp on an answer, inside the caller's transaction; None when the test is gone."""
        test = await repository.by_id(connection, test_id)
        return await _sticky_key(connection, test, user_id) if test else None

    async def assigned(self, connection: Connection, test_id: UUID, user_id: UUID) -> Variant | None:
        """The person's variant, stored at first use, inside the caller's transaction; None when the test is gone."""
        test = await repository.by_id(connection, test_id)
        return self._variant(test, await _sticky_key(connection, test, user_id)) if test else None

    async def proposed(self, connection: Connection, test_id: UUID, user_id: UUID) -> Variant | None:
        """What `assigned` would answer, without storing anything."""
        test = await repository.by_id(connection, test_id)
        if test is None:
            return None
        stored = await repository.assigned_variant(connection, test.id, user_id)
        return self._variant(test, stored or _proposal(test, user_id))

    def _variant(self, test: AbTest, key: str) -> Variant:
        variant = next((variant for variant in test.variants if variant.key == key), Variant(key, 0))
        if variant.settings.cdn_url in self._image_origins:
            return variant
        # Taken out of the server's settings since: no browser would load an image from there any more.
        return replace(variant, settings=replace(variant.settings, cdn_url=None))


async def _sticky_key(connection: Connection, test: AbTest, user_id: UUID) -> str:
    stored = await repository.assigned_variant(connection, test.id, user_id)
    if stored is not None:
        return stored
    proposal = _proposal(test, user_id)
    if test.expired:
        return proposal
    await repository.assign(connection, uuid7(), test.id, user_id, proposal)
    truth = await repository.assigned_variant(connection, test.id, user_id)
    assert truth is not None
    return truth


def _proposal(test: AbTest, user_id: UUID) -> str:
    return test.variants[0].key if test.expired else propose(test.id, user_id, test.variants)


def _with_plain_origin(variant: Variant) -> Variant:
    """As the settings write it: https://cdn.example/ is the origin https://cdn.example."""
    url = variant.settings.cdn_url
    return replace(variant, settings=replace(variant.settings, cdn_url=url.lower().rstrip("/"))) if url else variant


def _check_variants(variants: Sequence[Variant], image_origins: Collection[str]) -> None:
    position = repeated_key(variants)
    if position is not None:
        raise InvalidField(f"variants[{position}].key", f'repeats the key "{variants[position].key}"')
    total = weights_sum(variants)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        raise InvalidField("variants", f"must have weights that sum to 1, not to {total:.8g}")
    known = " or ".join(sorted(image_origins)) or "left out: this server has no image origin but its own"
    for position, variant in enumerate(variants):
        if variant.settings.cdn_url is not None and variant.settings.cdn_url not in image_origins:
            raise InvalidField(f"variants[{position}].settings.cdn_url", f"must be {known}")
