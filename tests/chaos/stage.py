"""Everything that one run consists of, up and running: PostgreSQL, web servers, orchestrators, simulated workers."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from comfylabel.accounts.schemas import Principal, Role
from comfylabel.accounts.service import AccountService
from comfylabel.db.embedded import EmbeddedPostgres
from comfylabel.db.migrate import migrate
from comfylabel.db.partitions import ensure_partitions
from comfylabel.db.pool import Database
from tests.chaos.control import Control
from tests.chaos.programs import Program, free_port
from tests.support.waiting import until

STARTING_SECONDS = 90  # of one program, on a machine that does much else
SUPERVISION_SECONDS = 0.5


@dataclass
class Replica:
    """One process of ours, on a machine whose clock and disk `control` spoils."""

    program: Program
    control: Control
    url: str = ""


@dataclass
class Worker:
    program: Program
    log: Path
    url: str
    limit: int
    id: str = ""
    enabled: bool = True
    takes_strangers: bool = False

    async def tell(self, path: str, body: Any) -> int | None:
        """The status; None: a dead worker hears nothing."""
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self.url + path, json=body) as told,
            ):
                return told.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def faults(self, **wishes: Any) -> bool:
        """Whether it heard."""
        status = await self.tell("/simulator/faults", wishes)
        assert status in (200, None), f"{wishes} is no fault that a simulated worker has: {status}"
        return status is not None

    async def holds_only(self, strangers: set[str]) -> bool:
        """Whether there is nothing in its queue but what they have sent."""
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{self.url}/queue") as told:
                queue = await told.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return {entry[1] for entry in (*queue["queue_running"], *queue["queue_pending"])} <= strangers

    async def answers(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/simulator/faults") as told,
            ):
                return told.status == 200 and self.program.is_up
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


@dataclass
class Stage:
    directory: Path
    postgres: EmbeddedPostgres
    apis: list[Replica] = field(default_factory=list)
    orchestrators: list[Replica] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    admin_token: str = ""
    annotator_tokens: list[str] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)  # what they have sent

    @property
    def store(self) -> Path:
        return self.directory / "data" / "objects"

    async def call(self, method: str, path: str, *, token: str = "", api: int = 0, **arguments: Any) -> tuple[int, Any]:
        """Status and JSON; raises what a broken connection raises."""
        headers = {"authorization": f"Bearer {token or self.admin_token}"} | arguments.pop("headers", {})
        timeout = aiohttp.ClientTimeout(total=arguments.pop("timeout", 10))
        url = self.apis[api % len(self.apis)].url + path
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, headers=headers, **arguments) as answer,
        ):
            return answer.status, json.loads(await answer.read() or b"null")

    async def sure(self, method: str, path: str, **arguments: Any) -> Any:
        """The answer's data of a call that must succeed, while nothing is broken."""
        status, document = await self.call(method, path, timeout=60, **arguments)
        if not 200 <= status < 300:
            raise AssertionError(f"{method} {path}: {status} {document}")
        return document["data"]


@dataclass(frozen=True, slots=True)
class Cast:
    """How many of each; `limits` has the max_concurrent_jobs of each worker, `rule` is one that orchestrators break."""

    orchestrators: int
    apis: int
    limits: tuple[int, ...]
    job_seconds: float
    rule: str | None = None


@asynccontextmanager
async def running_stage(directory: Path, cast: Cast) -> AsyncIterator[Stage]:
    directory.mkdir(parents=True, exist_ok=True)
    # Not fsync: a killed process leaves its writes with the kernel. Commits are written out all the same.
    postgres = EmbeddedPostgres(directory / "postgres", options=("fsync=off", "max_connections=200"))
    stage = Stage(directory, postgres)
    await postgres.start()
    watching = asyncio.create_task(postgres.watch())
    supervising = asyncio.create_task(_supervise(stage))
    try:
        await _fill(stage)
        _engage(stage, cast)
        await asyncio.gather(*(program.start() for program in _programs(stage)))
        for api in stage.apis:
            await until(lambda url=api.url: _is_ready(url), STARTING_SECONDS)  # type: ignore[misc]
        for worker in stage.workers:
            await until(worker.answers, STARTING_SECONDS)
        yield stage
    finally:
        for task in (watching, supervising):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(program.kill() for program in _programs(stage)))
        await postgres.stop()


async def _fill(stage: Stage) -> None:
    """Schema, partitions, and people with tokens."""
    url = stage.postgres.url
    await asyncio.to_thread(migrate, url)
    database = await Database.connect(url, max_size=2)
    try:
        async with database.transaction() as connection:
            await ensure_partitions(connection, await connection.fetchval("select now()"))
        accounts = AccountService(database, origin="http://127.0.0.1", auth_on=False)
        local = await accounts.principal(session=None, token=None)
        assert local is not None
        stage.admin_token = (await accounts.create_token(local, "chaos", None))[1]
        for name in ("ann", "bob"):
            user, _ = await accounts.create_user(local, name, Role.ANNOTATOR)
            person = Principal(user.id, user.name, Role.ANNOTATOR, token_id=None)
            stage.annotator_tokens.append((await accounts.create_token(person, "chaos", None))[1])
    finally:
        await database.close()


def _engage(stage: Stage, cast: Cast) -> None:
    directory = stage.directory
    environment = {
        "DATABASE_URL": stage.postgres.url,
        "COMFYLABEL_DATA_DIR": str(directory / "data"),
        "COMFYLABEL_SECRET_KEY": "chaos" * 8,
        "COMFYLABEL_HEALTH_INTERVAL_SECONDS": "1",
    }

    def replica(command: str, number: int, *rest: str) -> Replica:
        control = directory / f"{command}-{number}.control"
        extra = ["--break", cast.rule] if cast.rule and command == "orchestrate" else []
        arguments = [command, str(control), *extra, *rest]
        output = directory / f"{command}-{number}.log"
        return Replica(
            Program(f"{command}-{number}", "tests.chaos.launch", arguments, output, environment), Control(control)
        )

    for number in range(cast.apis):
        port = free_port()
        stage.apis.append(replica("serve", number, "--port", str(port)))
        stage.apis[-1].url = f"http://127.0.0.1:{port}"
    stage.orchestrators += [replica("orchestrate", number) for number in range(cast.orchestrators)]
    for number, limit in enumerate(cast.limits):
        port, log = free_port(), directory / f"worker-{number}.jsonl"
        arguments = [str(port), str(log), str(cast.job_seconds)]
        output = directory / f"worker-{number}.log"
        program = Program(f"worker-{number}", "tests.chaos.worker", arguments, output)
        stage.workers.append(Worker(program, log, f"http://127.0.0.1:{port}", limit))


async def _supervise(stage: Stage) -> None:
    while True:
        await asyncio.sleep(SUPERVISION_SECONDS)
        for program in _programs(stage):
            await program.stay_up()


def _programs(stage: Stage) -> list[Program]:
    ours = [replica.program for replica in (*stage.apis, *stage.orchestrators)]
    return [*ours, *(worker.program for worker in stage.workers)]


async def _is_ready(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def pick(rng: random.Random, among: list[Any]) -> Any:
    return among[rng.randrange(len(among))]
