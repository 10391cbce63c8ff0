"""The helper that other tests trust with their query plans."""

from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database
from tests.support.plans import plan


async def test_the_crowd_is_there(crowded_database: Database) -> None:
    async with crowded_database.connection() as connection:
        assert await connection.fetchval("select count(*) from generations") == 200_000
        assert await connection.fetchval("select count(*) from generations_default") == 0
        assert await connection.fetchval("select count(*) from pg_statistic where starelid = 'batches'::regclass") > 0


async def test_a_plan_is_generic_and_leaves_nothing_behind(crowded_database: Database) -> None:
    async with crowded_database.connection() as connection:
        task_id = await connection.fetchval("select id from tasks limit 1")
        text = await plan(
            connection, "select * from batches where task_id = $1 and position = any ($2::int[])", task_id, [1, 2]
        )
        assert "batches_position" in text
        assert "$1" in text, "a generic plan shows parameters, not values"
        assert await connection.fetchval("show plan_cache_mode") == "auto"
        assert await connection.fetchval("select count(*) from pg_prepared_statements where name = 'planned'") == 0


async def test_id_bounds_prune_months(crowded_database: Database) -> None:
    async with crowded_database.connection() as connection:
        text = await plan(connection, "select * from generations where id = $1", uuid7())
        assert "Subplans Removed: 3" in text
