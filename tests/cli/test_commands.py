"""The small commands: what they say, and with which status they end."""

import re
from pathlib import Path

from comfylabel.db.migrate import newest
from comfylabel.db.pool import Database
from tests.cli.conftest import answers, comfylabel, serving, started
from tests.support.rows import add_task, add_worker


async def test_help_names_every_command(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path, "--help")
    assert status == 0
    commands = ["up", "demo", "serve", "orchestrate", "migrate", "user", "check", "partitions", "simulate-worker"]
    assert [name for name in commands if not re.search(rf"│ {name} ", output)] == []


async def test_users_are_added_listed_invited_and_given_tokens(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path, "user", "add", "ann")
    assert status == 0
    assert re.search(r"ann is annotator.*http://127.0.0.1:8765/sign-in#token=\S+", output, re.DOTALL)
    status, output = await comfylabel(tmp_path, "user", "add", "ANN", "--role", "operator")
    assert status == 78
    assert "There is already a user named ANN." in output
    assert (await comfylabel(tmp_path, "user", "add", "ole", "--role", "operator"))[0] == 0
    status, output = await comfylabel(tmp_path, "user", "list")
    assert status == 0
    assert re.search(r"ann +│ annotator", output)
    assert re.search(r"ole +│ operator", output)
    assert "sign-in#token=" in (await comfylabel(tmp_path, "user", "link", "ann"))[1]
    assert re.search(r"^clt_\S+$", (await comfylabel(tmp_path, "user", "token", "ole"))[1], re.MULTILINE)
    status, output = await comfylabel(tmp_path, "user", "link", "nobody")
    assert status == 78
    assert "no user named nobody" in output


async def test_serve_and_orchestrate_refuse_a_database_of_another_version(tmp_path: Path, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("delete from alembic_version")
    for command in (("serve", "--port", "0"), ("orchestrate",)):
        status, output = await comfylabel(tmp_path, *command, DATABASE_URL=database.url)
        assert status == 78
        assert "comfylabel migrate" in output


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("update alembic_version set version_num = 'from_the_future'")
    for command in (("migrate",), ("serve", "--port", "0"), ("up", "--port", "0")):
        status, output = await comfylabel(tmp_path, *command, DATABASE_URL=database.url)
        assert status == 78
        assert "newer comfylabel" in output
        assert "from_the_future" in output


async def test_migrate_says_where_the_database_is(tmp_path: Path, database_url: str) -> None:
    status, output = await comfylabel(tmp_path, "migrate", DATABASE_URL=database_url)
    assert status == 0
    assert newest() in output


async def test_a_database_that_is_away_is_no_fault_of_the_settings(tmp_path: Path) -> None:
    status, output = await comfylabel(
        tmp_path, "user", "list", DATABASE_URL=f"postgresql://postgres@/postgres?host={tmp_path}"
    )
    assert status == 1
    assert "does not answer" in output
    assert "Traceback" not in output


async def test_a_simulated_worker_says_what_it_is(tmp_path: Path) -> None:
    async with started(tmp_path, "simulate-worker", "--port", "0", "--faults", "out_of_memory_above=600000") as command:
        url = (await command.read_until(r"Simulated ComfyUI \(no GPU\) at (\S+)")).group(1)
        assert await answers(f"{url}/system_stats") == 200
    status, output = await comfylabel(tmp_path, "simulate-worker", "--port", "0", "--faults", "bad_mood=1")
    assert status == 78
    assert "no fault bad_mood" in output


# -- check and partitions, over HTTP


async def test_check_finds_and_repairs_a_wrong_counter(tmp_path: Path, database: Database) -> None:
    async with database.transaction() as connection:
        worker = await add_worker(connection)
        task = await add_task(connection, state="DONE", prompts=3, seeds=2, worker_id=worker)
        await connection.execute("update batches set done = 1, failed = 1 where id = $1", task.batches[1])
    await comfylabel(tmp_path, "user", "add", "ada", "--role", "admin", DATABASE_URL=database.url)
    _, output = await comfylabel(tmp_path, "user", "token", "ada", DATABASE_URL=database.url)
    token = output.strip().splitlines()[-1]
    async with serving(tmp_path, database.url) as origin:

        async def ask(*arguments: str) -> tuple[int, str]:
            return await comfylabel(tmp_path, *arguments, "--url", origin, COMFYLABEL_TOKEN=token)

        status, output = await ask("check")
        assert status == 1
        assert "3 batches of 1 tasks counted, 1 wrong" in output
        assert str(task.batches[1]) in output
        status, output = await ask("check", "--repair")
        assert (status, "1 put right" in output) == (0, True)
        assert (await ask("check"))[0] == 0
        assert (await ask("partitions", "list"))[0] == 0
        status, output = await ask("partitions", "repair")
        assert (status, "0 rows moved" in output) == (0, True)


async def test_check_says_what_it_needs(tmp_path: Path) -> None:
    status, output = await comfylabel(tmp_path, "check")
    assert status == 78
    assert "COMFYLABEL_TOKEN" in output
    status, output = await comfylabel(tmp_path, "check", "--token", "x", "--url", "http://127.0.0.1:1")
    assert status == 78
    assert "does not answer" in output
