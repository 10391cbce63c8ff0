"""The real server in a process of its own, on an embedded PostgreSQL, with a task whose batches are all ready."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bench.client import Client
from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.ids import uuid7
from comfylabel.db.pool import Database

LINK = re.compile(rb"http://\S+#token=\S+")


@dataclass(frozen=True, slots=True)
class AtWork:
    """`admin` is signed in through the link that the server printed."""

    origin: str
    pid: int
    folder: Path
    postgres: EmbeddedPostgres
    database: Database
    admin: Client

    def new_person(self, name: str, role: str = "annotator") -> str:
        """A new user's sign-in link."""
        answer = self.admin.post("/api/users", {"name": name, "role": role})
        link: str = answer.body["data"]["sign_in_link"]["url"]
        return link

    def object_path(self, key: str) -> Path:
        return self.folder / "data" / "objects" / key


@asynccontextmanager
async def server_at_work() -> AsyncIterator[AtWork]:
    folder = Path(tempfile.mkdtemp(prefix="comfylabel-bench-"))
    postgres = EmbeddedPostgres(folder / "postgres")
    try:
        url = await postgres.start()
        await asyncio.to_thread(_migrate, url, folder / "data")
        database = await Database.connect(url, max_size=2)
        try:
            with _serving(url, folder / "data") as (origin, pid, link):
                admin = Client(origin)
                admin.sign_in(link)
                yield AtWork(origin, pid, folder, postgres, database, admin)
                admin.close()
        finally:
            await database.close()
    finally:
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


_COMFYLABEL = (sys.executable, "-m", "comfylabel.cli", "--quiet")


def _environment(url: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "PATH": os.environ.get("PATH", os.defpath)}


def _migrate(url: str, data_dir: Path) -> None:
    """With the months of images that an installation has."""
    command = [*_COMFYLABEL, "migrate", "--data-dir", str(data_dir)]
    subprocess.run(command, env=_environment(url), check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _serving(url: str, data_dir: Path) -> Iterator[tuple[str, int, str]]:
    """`comfylabel serve` as a user starts it; its address, its process, and the link that it prints."""
    with process([*_COMFYLABEL, "serve", "--port", "0", "--data-dir", str(data_dir)], _environment(url)) as serving:
        assert serving.stdout
        for line in serving.stdout:
            if found := LINK.search(line):
                link = found[0].decode()
                yield link.split("/sign-in", 1)[0], serving.pid, link
                return
        raise RuntimeError("comfylabel serve ended")


@contextmanager
def orchestrating(at_work: AtWork) -> Iterator["subprocess.Popen[bytes]"]:
    """One `comfylabel orchestrate` on that server's database and data."""
    command = [*_COMFYLABEL, "orchestrate", "--data-dir", str(at_work.folder / "data")]
    with process(command, _environment(at_work.postgres.url)) as running:
        yield running


@contextmanager
def process(
    command: list[str], environment: dict[str, str] | None = None, listener: socket.socket | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    inherited = (listener.fileno(),) if listener else ()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, pass_fds=inherited)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


async def add_ready_task(database: Database, prompts: int, texts: str = "'prompt ' || n") -> UUID:
    """DONE, four images a prompt, every batch ready. `texts`: SQL of prompt n's text."""
    task_id = uuid7()
    async with database.transaction() as connection:
        await connection.execute(READY_TASK.format(task_id=task_id, prompts=prompts, texts=texts))
    async with database.connection() as connection:
        await connection.execute("vacuum analyze")
    return task_id


READY_TASK = """
set local session_replication_role = replica;  -- no foreign keys and guards: the rows are right by construction

insert into workers (id, name, base_url, status, last_checked_at)
values ('{task_id}', 'of {task_id}', 'http://127.0.0.1:8188', 'HEALTHY', now());

insert into workflows (id, name, version, model, max_batch_size, seed_mode, status, prompt_nodes, seed_nodes,
  forbidden_nodes, bindings, limits, report, raw_definition)
values ('{task_id}', 'of {task_id}', '1', 'sdxl', 4, 'native', 'valid', '["6"]', '["3"]', '[]', '{{}}', '{{}}', '[]',
  '{{}}');

insert into tasks (id, workflow_id, state, target_prompts, seeds_per_prompt, variable_pool_ids, variable_pool_version,
  sampling_seed, seed_mode, batch_size, frozen_snapshot, digest, frozen_at, started_at, ended_at)
values ('{task_id}', '{task_id}', 'DONE', {prompts}, 4, '{{}}', 'v1', 1, 'native', 4, '{{}}', '', now(), now(), now());

create temporary table planned on commit drop as
select n, uuidv7() as prompt, uuidv7() as batch, uuidv7() as submission from generate_series(0, {prompts} - 1) n;

insert into prompts (id, task_id, position, text) select prompt, '{task_id}', n, {texts} from planned;

insert into seeds (id, prompt_id, position, seed_value)
select uuidv7(), prompt, s, n * 4 + s from planned, generate_series(0, 3) s;

insert into batches (id, task_id, prompt_id, position, total, done, candidates, ready_at)
select batch, '{task_id}', prompt, n, 4, 4, 4, now() + n * interval '1 microsecond' from planned;

insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size, graph_digest,
  sent_at, accepted_at, ended_at)
select submission, '{task_id}', '{task_id}', prompt, 0, 1, 'ingested', n, 4, '', now(), now(), now() from planned;

insert into generations (id, task_id, prompt_id, seed_id, batch_id, worker_id, submission_id, state, position, chunk,
  seed_value, batch_index, batch_size, candidate_index, image_uri, thumbnail_uri, tile_uri, preview_uri, checksum,
  bytes, width, height)
select uuidv7(), '{task_id}', prompt, seeds.id, batch, '{task_id}', submission, 'done', s, 0, n, s, 4, s,
  path || '.png', path || '.256.webp', path || '.640.webp', path || '.1024.webp', checksum, 1000000, 1024, 1024
from planned
join seeds on seeds.prompt_id = prompt and seeds.position = 0, generate_series(0, 3) s,
  lateral (select encode(sha256(convert_to(n || '.' || s, 'UTF8')), 'hex') as checksum),
  lateral (select 'tasks/{task_id}/2026/11/22/' || left(checksum, 2) || '/' || checksum as path);
"""
