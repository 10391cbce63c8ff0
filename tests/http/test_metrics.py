import asyncio
from datetime import UTC, datetime

import pytest

from comfylabel.tasks.measures import Measures
from tests.support.app import Api
from tests.support.rows import add_task, add_worker


async def test_requests_are_counted_by_route_and_never_by_path(api: Api):
    program = await api.with_token("admin")
    await program.get("/api/users")
    await program.patch("/api/users/01a2048d-760e-708a-a2bc-657a129fd080", json={})
    await program.get("/api/none/01a2048d-760e-708a-a2bc-657a129fd080")

    lines = (await program.get("/metrics")).text.splitlines()

    assert 'comfylabel_http_requests_total{method="GET",route="/api/users",status="200"} 1.0' in lines
    assert 'comfylabel_http_requests_total{method="PATCH",route="/api/users/{user_id}",status="404"} 1.0' in lines
    assert not [line for line in lines if "01a2048d" in line]
    assert any(line.startswith('comfylabel_database_connections{state="idle"}') for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


async def test_tasks_and_workers_are_counted_as_the_database_says(api: Api):
    async with api.app.state.database.transaction() as connection:
        worker = await add_worker(connection, 'gpu "one"')
        task = await add_task(connection, "RUNNING", prompts=3, seeds=4, worker_id=worker)
        await connection.execute("update batches set done = 3, failed = 1 where task_id = $1 and position = 0", task.id)
        paused = await add_task(connection, "RUNNING", worker_id=worker, paused_at=datetime.now(UTC))
        await add_task(connection, "DRAFT", worker_id=worker)
        await add_worker(connection, "resting", enabled=False)
        await connection.execute(
            """insert into worker_totals (worker_id, submissions, images, busy_seconds, gap_seconds, gaps_10, gaps_more)
               values ($1, 5, 20, 12.5, 4.5, 3, 1)""",
            worker,
        )
        await connection.execute("insert into worker_failures values ($1, 'out_of_memory', 2)", worker)
    lines = (await (await api.with_token("admin")).get("/metrics")).text.splitlines()
    one = 'worker="gpu \\"one\\""'

    for line in (
        f"comfylabel_worker_up{{{one}}} 1.0",
        'comfylabel_worker_up{worker="resting"} 0.0',
        f"comfylabel_worker_images_total{{{one}}} 20.0",
        'comfylabel_worker_images_total{worker="resting"} 0.0',
        f"comfylabel_worker_submissions_total{{{one}}} 5.0",
        f"comfylabel_worker_busy_seconds_total{{{one}}} 12.5",
        f'comfylabel_worker_failures_total{{kind="out_of_memory",{one}}} 2.0',
        f'comfylabel_worker_gap_seconds_bucket{{le="0.01",{one}}} 3.0',
        f'comfylabel_worker_gap_seconds_bucket{{le="3.0",{one}}} 3.0',
        f'comfylabel_worker_gap_seconds_bucket{{le="+Inf",{one}}} 4.0',
        f"comfylabel_worker_gap_seconds_sum{{{one}}} 4.5",
        f"comfylabel_worker_gap_seconds_count{{{one}}} 4.0",
        f"comfylabel_worker_held{{{one}}} 0.0",
        'comfylabel_tasks{state="RUNNING"} 2.0',
        'comfylabel_tasks{state="DONE"} 0.0',
        f'comfylabel_task_images{{state="done",task="{task.id}"}} 3.0',
        f'comfylabel_task_images{{state="pending",task="{task.id}"}} 8.0',
        f'comfylabel_task_images{{state="pending",task="{paused.id}"}} 8.0',
        "comfylabel_queue_backlog 8.0",
    ):
        assert line in lines, line


async def test_many_scrapes_at_once_cost_one_reading(api: Api, monkeypatch: pytest.MonkeyPatch):
    readings = 0
    read = Measures._read

    async def counted(self: Measures):
        nonlocal readings
        readings += 1
        return await read(self)

    monkeypatch.setattr(Measures, "_read", counted)
    monkeypatch.setattr("comfylabel.tasks.measures.FRESH_SECONDS", 3600)
    program = await api.with_token("admin")
    answers = await asyncio.gather(*(program.get("/metrics") for _ in range(5)))

    assert [answer.status_code for answer in answers] == [200] * 5
    assert readings == 1


async def test_the_probes_answer_without_a_sign_in(api: Api):
    assert (await api.anonymous.get("/healthz")).json()["data"] == {"status": "alive"}
    assert (await api.anonymous.get("/readyz")).json()["data"] == {"status": "ready"}
