"""One run: tasks are made and run, faults strike from one seed, then they end, and an auditor judges what is left."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.chaos import auditor
from tests.chaos.annotators import AWAY, Annotator
from tests.chaos.evidence import read_lines
from tests.chaos.graphs import looped, native
from tests.chaos.injection import Injector, rounds
from tests.chaos.launch import DEADLINE_SECONDS
from tests.chaos.stage import Cast, Stage, Worker, running_stage
from tests.chaos.troubles import is_foreseen_end, unforeseen

# From the last fault to the end of the last task. Seen: 3 to 25 s on an idle machine; this one may be busy.
END_SECONDS = 180
# The sweeps of a run come every second.
TIDYING_SECONDS = 20
WORK_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is, all of it from its seed."""

    seed: int
    chaos_seconds: float
    orchestrators: int
    apis: int
    limits: tuple[int, ...]
    job_seconds: float
    prompts: tuple[int, int, int]
    strangers: bool
    again: bool

    @classmethod
    def of(cls, seed: int, chaos_seconds: float) -> "Plan":
        rng = random.Random(seed)
        limits = tuple(rng.choice((1, 2, 3)) for _ in range(rng.choice((2, 3, 3))))
        job_seconds = rng.choice((0.2, 0.4, 0.7))
        # Two submissions a prompt, or three: without trouble, workers would be busy for about this share of the time.
        prompts = int(WORK_SHARE * chaos_seconds * len(limits) / job_seconds / 2.2)
        return cls(
            seed=seed,
            chaos_seconds=chaos_seconds,
            orchestrators=rng.choice((2, 2, 3)),
            apis=rng.choice((1, 2)),
            limits=limits,
            job_seconds=job_seconds,
            prompts=(prompts // 2 + 1, prompts // 3 + 1, prompts // 6 + 2),
            strangers=rng.random() < 0.4,
            again=rng.random() < 0.7,
        )


@dataclass
class Result:
    seed: int
    violations: list[str] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    foreseen_ends: int = 0  # of programs that were started while the database was away
    struck: Counter[str] = field(default_factory=Counter)  # what met somebody, by the logs of the workers
    images: int = 0
    answers: int = 0
    seconds: float = 0.0


async def run(
    plan: Plan,
    directory: Path,
    *,
    rule: str | None = None,
    strikes: Iterable[str] | None = None,
    afterwards: Callable[[Path], Awaitable[None]] | None = None,
) -> Result:
    """`strikes`: these faults in place of the seed's; `afterwards` looks at it all while it still runs."""
    began = time.monotonic()
    result = Result(plan.seed)
    cast = Cast(plan.orchestrators, plan.apis, plan.limits, plan.job_seconds, rule)
    async with running_stage(directory, cast) as stage:
        rng = random.Random(plan.seed + 1)
        await _Drama(stage, plan, rng, result, is_whole=rule is None).play(rounds(rng) if strikes is None else strikes)
        if afterwards is not None:
            await afterwards(directory)
    result.seconds = time.monotonic() - began
    complaints = unforeseen(directory)
    result.violations += [f"unforeseen in our logs, {count} times: {what}" for what, count in complaints.items()]
    return result


@dataclass
class _Drama:
    stage: Stage
    plan: Plan
    rng: random.Random
    result: Result
    is_whole: bool  # no rule of the product is broken
    tasks: list[str] = field(default_factory=list)
    is_over: bool = False

    async def play(self, strikes: Iterable[str]) -> None:
        injector = Injector(self.stage, self.rng)
        await self._set_up()
        people = [Annotator(self.stage, number, random.Random(self.plan.seed + 2 + number)) for number in (0, 1)]
        for person in people:
            person.user_id = (await self.stage.sure("GET", "/api/me", token=person.token))["id"]
        labelling = [asyncio.create_task(person.label(lambda: self.tasks, lambda: self.is_over)) for person in people]
        injector.tasks = self.tasks
        await self._begin(injector)
        await self._trouble(injector, strikes)
        await injector.heal()
        await self._within_reason(self._come_to_an_end(again=self.plan.again))
        self.is_over = True
        await asyncio.gather(*labelling)
        for person in people:
            for task in self.tasks:
                await person.release(task)
        await self._judge(injector, complete=self.plan.again)
        if not self.plan.again and self.is_whole and await self._is_something_missing():
            await self._within_reason(self._come_to_an_end(again=True))
            await self._judge(injector, complete=True)
        self._note(injector, people)

    # --- before

    async def _set_up(self) -> None:
        call = self.stage.sure
        for number, worker in enumerate(self.stage.workers):
            worker.takes_strangers = self.plan.strangers and number == 0
            body = {"name": f"gpu-{number}", "base_url": worker.url, "max_concurrent_jobs": worker.limit, "priority": 0}
            worker.id = (await call("POST", "/api/workers", json=body))["id"]
        items = [f"subject {number}" for number in range(sum(self.plan.prompts))]
        pool = {"name": "subject", "mode": "permutation", "items": items}
        pool_id = (await call("POST", "/api/variable-pools", json=pool))["id"]
        workflows = [await self._workflow("native", native()), await self._workflow("looped", looped())]
        for workflow, prompts, seeds in zip((0, 1, 0), self.plan.prompts, (4, 2, 3), strict=True):
            body = {
                "workflow_id": workflows[workflow],
                "variable_pool_ids": [pool_id],
                "target_prompts": prompts,
                "seeds_per_prompt": seeds,
            }
            self.tasks.append((await call("POST", "/api/tasks", json=body))["id"])

    async def _workflow(self, name: str, graph: dict[str, Any]) -> str:
        form = aiohttp.FormData()
        form.add_field("workflow", json.dumps(graph).encode(), filename="workflow_api.json")
        form.add_field("metadata", json.dumps({"name": name, "version": "1", "max_batch_size": 2}))
        answer = await self.stage.sure("POST", "/api/workflows", data=form)
        identity: str = answer["id"]
        return identity

    async def _begin(self, injector: Injector) -> None:
        """The first runs, the second soon; the third is piloted, frozen and run in the middle of it all."""
        first, second, third = self.tasks
        await self.stage.sure("POST", f"/api/tasks/{first}/freeze")
        await self.stage.sure("POST", f"/api/tasks/{first}/run")
        await self.stage.sure("POST", f"/api/tasks/{second}/freeze")
        prefer = {"prefer": "respond-async"}
        await self.stage.sure("POST", f"/api/tasks/{third}/pilot", headers=prefer)
        injector.later(self.rng.uniform(0.5, 5), lambda: injector.verb(f"/api/tasks/{second}/run"))
        later = self.rng.uniform(3, 0.6 * self.plan.chaos_seconds)
        injector.later(later, lambda: injector.verb(f"/api/tasks/{third}/freeze"))
        injector.later(later + 1, lambda: injector.verb(f"/api/tasks/{third}/run"))

    # --- meanwhile

    async def _trouble(self, injector: Injector, strikes: Iterable[str]) -> None:
        over_at = time.monotonic() + self.plan.chaos_seconds
        for kind in strikes:
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))
            if time.monotonic() > over_at:
                return
            await injector.strike(kind)

    # --- afterwards

    async def _within_reason(self, step: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await step
        except TimeoutError:
            self.result.violations.append(f"the run did not end within {END_SECONDS} s: {await self._left_over()}")

    async def _come_to_an_end(self, *, again: bool) -> None:
        for worker in self.stage.workers:
            await self._ask("PATCH", f"/api/workers/{worker.id}", json={"enabled": True})
        await _eventually(self._all_run)
        await _eventually(self._all_ended)
        if again:
            await self._run_again()
            await _eventually(self._all_ended)
        await _eventually(self._is_quiet)
        with suppress(TimeoutError):  # what is not tidy by then is found by the auditor
            async with asyncio.timeout(TIDYING_SECONDS):
                await _eventually(self._is_tidy)

    async def _all_run(self) -> bool:
        """Whatever the people did: nothing is paused, and what never ran runs."""
        for task in self.tasks:
            progress = await self._ask("GET", f"/api/tasks/{task}/progress?limit=1")
            if progress["state"] == "DRAFT":
                await self._ask("POST", f"/api/tasks/{task}/freeze")
            if progress["state"] in ("DRAFT", "FROZEN"):
                await self._ask("POST", f"/api/tasks/{task}/run")
                return False
            if progress["paused"]:
                await self._ask("POST", f"/api/tasks/{task}/resume")
        return True

    async def _all_ended(self) -> bool:
        states = [(await self._ask("GET", f"/api/tasks/{task}/progress?limit=1"))["state"] for task in self.tasks]
        return set(states) <= {"DONE", "FAILED"}

    async def _is_something_missing(self) -> bool:
        told = [await self._ask("GET", f"/api/tasks/{task}/progress?limit=1") for task in self.tasks]
        return any(progress["done"] < progress["total"] for progress in told)

    async def _run_again(self) -> None:
        """Nothing is wrong any more: what was missing must all be made."""
        for task in self.tasks:
            progress = await self._ask("GET", f"/api/tasks/{task}/progress?limit=1")
            if progress["done"] < progress["total"]:
                await self._ask("POST", f"/api/tasks/{task}/run")

    async def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Refusals are answers too; only silence is asked again."""
        while True:
            try:
                _, answer = await self.stage.call(method, path, timeout=20, **arguments)
                if answer["success"] or answer["code"] not in {"unavailable", "no_healthy_worker", "no_able_worker"}:
                    return answer["data"]
            except AWAY:
                pass
            await asyncio.sleep(0.2)

    async def _is_quiet(self) -> bool:
        return not await self._left_over()

    async def _is_tidy(self) -> bool:
        """No worker works for nobody, and each file of a pilot has its row."""
        for worker in self.stage.workers:
            if not await worker.holds_only(self.stage.strangers):
                return False
        connection = await asyncpg.connect(self.stage.postgres.url)
        try:
            rows = await connection.fetch(
                "select unnest(array[image_uri, thumbnail_uri, tile_uri, preview_uri]) from generations where pilot"
            )
        finally:
            await connection.close()
        files = (path.relative_to(self.stage.store).as_posix() for path in self.stage.store.glob("tasks/*/pilot/*/*"))
        return set(files) <= {row[0] for row in rows}

    async def _left_over(self) -> str:
        connection = await asyncpg.connect(self.stage.postgres.url)
        try:
            open_ones = await connection.fetch(
                "select state || ' ' || count(*) from submissions where ended_at is null group by state"
            )
            jobs = await connection.fetchval("select count(*) from pgqueuer where status in ('queued', 'picked')")
            tasks = await connection.fetch("select id, state, paused_at from tasks where state = 'RUNNING'")
        finally:
            await connection.close()
        left = [row[0] for row in open_ones] + [f"{jobs} jobs"] * bool(jobs)
        return ", ".join(left + [f"task {row['id']} {row['state']}" for row in tasks])

    async def _judge(self, injector: Injector, *, complete: bool) -> None:
        """`complete`: every task was run again when nothing was wrong any more."""
        progress = {task: await self._ask("GET", f"/api/tasks/{task}/progress?limit=1") for task in self.tasks}
        parts = {
            "seed": self.plan.seed,
            "database_url": self.stage.postgres.url,
            "store": str(self.stage.store),
            "workers": [
                {"id": w.id, "limit": w.limit, "log": str(w.log), "takes_strangers": w.takes_strangers}
                for w in self.stage.workers
            ],
            "progress": progress,
            "complete": self.tasks if complete else [],
            "deadline_seconds": DEADLINE_SECONDS,
            "grace_seconds": 0.0,
            "injected": injector.counts,
            "verbs": injector.diary,
        }
        (self.stage.directory / "audit.json").write_text(json.dumps(parts, indent=1))
        self.result.violations += await auditor.audit(self.stage.directory)
        self.result.images = sum(told["done"] for told in progress.values())

    def _note(self, injector: Injector, people: list[Annotator]) -> None:
        self.result.injected = injector.counts
        self.result.struck = _struck(self.stage.workers)
        self.result.answers = sum(person.answers for person in people)
        for person in people:
            self.result.violations += [f"an answer was refused: {text}" for text in person.refused]
        for replica in (*self.stage.apis, *self.stage.orchestrators):
            for status, words in replica.program.falls:
                if is_foreseen_end(status, words):
                    self.result.foreseen_ends += 1
                else:
                    self.result.violations.append(f"{replica.program.name} ended by itself with {status}: {words}")


def _struck(workers: Iterable[Worker]) -> Counter[str]:
    """A restart counts when the worker knew something that it forgot by it."""
    found: Counter[str] = Counter()
    for worker in workers:
        knows = False
        for event in read_lines(worker.log):
            if event["event"] == "struck":
                found[event["fault"]] += 1
            elif event["event"] in ("up", "forgot"):
                found["forgot"] += knows
                knows = False
            knows = knows or event["event"] == "queued"
    return found


async def _eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.1)
