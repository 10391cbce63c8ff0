"""Rules of A/B tests: weights are a distribution, an assignment sticks, an expired test takes nobody new."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from comfylabel.ab_tests import repository
from comfylabel.ab_tests.bucketing import WEIGHT_TOLERANCE, Variant, propose, repeated_key, weights_sum
from comfylabel.ab_tests.schemas import AbTest
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import Conflict, InvalidField, NotFound


class AbTestService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_all(self) -> list[AbTest]:
        async with self._database.connection() as connection:
            return await repository.list_all(connection)

    async def create(self, name: str, variants: Sequence[Variant], expires_at: datetime) -> AbTest:
        _check_variants(variants)
        async with self._database.transaction() as connection:
            created = await repository.insert(connection, uuid7(), name, list(variants), expires_at)
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
            return await _sticky_variant(connection, test, user_id)

    async def variant_of(self, connection: Connection, test_id: UUID, user_id: UUID) -> str | None:
        """For the stamp on an answer, inside the caller's transaction; None when the test is gone."""
        test = await repository.by_id(connection, test_id)
        return await _sticky_variant(connection, test, user_id) if test else None


async def _sticky_variant(connection: Connection, test: AbTest, user_id: UUID) -> str:
    stored = await repository.assigned_variant(connection, test.id, user_id)
    if stored is not None:
        return stored
    if test.expired:
        return test.variants[0].key
    await repository.assign(connection, uuid7(), test.id, user_id, propose(test.id, user_id, test.variants))
    truth = await repository.assigned_variant(connection, test.id, user_id)
    assert truth is not None
    return truth


def _check_variants(variants: Sequence[Variant]) -> None:
    position = repeated_key(variants)
    if position is not None:
        raise InvalidField(f"variants[{position}].key", f'repeats the key "{variants[position].key}"')
    total = weights_sum(variants)
    if abs(total - 1) > WEIGHT_TOLERANCE:
        raise InvalidField("variants", f"must have weights that sum to 1, not to {total:.8g}")
