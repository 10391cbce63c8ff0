import asyncio

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from comfylabel.variable_pools import repository

ITEMS = ["it's", '"quoted"', "</script>", "a, b", "{x}", "NULL", ""]


async def test_items_come_back_in_order(database: Database):
    async with database.transaction() as connection:
        first = await repository.insert_first(
            connection, pool_id=uuid7(), name="awkward", mode="permutation", items=ITEMS
        )
        assert first is not None
        taken = await repository.insert_first(
            connection, pool_id=uuid7(), name="awkward", mode="permutation", items=["x"]
        )
        assert taken is None
    async with database.connection() as connection:
        pool = await repository.get(connection, first.id)
        page = await repository.items(connection, first.id, start=2, limit=3)
        assert await repository.items(connection, first.id, start=99, limit=3) == []
    assert pool is not None
    assert pool.items == tuple(ITEMS)
    assert page == ITEMS[2:5]


async def test_versions_made_at_once_are_numbered_one_after_the_other(database: Database):
    async with database.transaction() as connection:
        await repository.insert_first(connection, pool_id=uuid7(), name="dress", mode="permutation", items=["a"])

    async def add(item: str) -> int:
        async with database.transaction() as connection:
            row = await repository.insert_next(
                connection, pool_id=uuid7(), name="dress", mode="permutation", items=[item]
            )
            return row.version

    assert sorted(await asyncio.gather(*(add(item) for item in "bcdefgh"))) == [2, 3, 4, 5, 6, 7, 8]
