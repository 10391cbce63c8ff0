"""The faults of a run, each named by what happens. What a fault breaks is whole again when `heal` has returned."""

import asyncio
import json
import os
import random
import signal
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from comfylabel.comfy.simulator import Faults
from tests.chaos.annotators import AWAY
from tests.chaos.control import Dial
from tests.chaos.graphs import foreign
from tests.chaos.launch import LEASE_SECONDS, POST_SECONDS
from tests.chaos.programs import Program
from tests.chaos.stage import STARTING_SECONDS, Replica, Stage, Worker, pick
from tests.support.waiting import until

HEALTHY = {name: [] if isinstance(value, set | tuple) else value for name, value in asdict(Faults()).items()}


@dataclass
class Injector:
    stage: Stage
    rng: random.Random
    tasks: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    diary: list[str] = field(default_factory=list)
    _down: set[str] = field(default_factory=set)
    _tails: set["asyncio.Task[None]"] = field(default_factory=set)
    _stuck: set[str] = field(default_factory=set)

    async def strike(self, kind: str) -> None:
        """Does nothing, and counts nothing, where there is nothing left to break."""
        if await FAULTS[kind](self):
            self.counts[kind] += 1

    async def heal(self) -> None:
        """Everything runs, every clock is right, and no worker gets anything wrong any more."""
        while self._tails:
            await asyncio.gather(*self._tails)
        for replica in (*self.stage.apis, *self.stage.orchestrators):
            replica.control.reset()
        for worker in self.stage.workers:
            await until(worker.answers, STARTING_SECONDS)
            await worker.faults(**HEALTHY)
            await worker.tell("/simulator/late", {"posts": 0, "seconds": 0})

    # --- helpers

    def later(self, seconds: float, step: Callable[[], Awaitable[Any] | None]) -> None:
        async def tail() -> None:
            await asyncio.sleep(seconds)
            done = step()
            if done is not None:
                await done

        task = asyncio.create_task(tail())
        self._tails.add(task)
        task.add_done_callback(self._tails.discard)

    def seconds(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    async def down(self, program: Program, seconds: float) -> bool:
        """Killed, and started again after so long."""
        if program.name in self._down:
            return False
        self._down.add(program.name)
        await program.kill()

        async def up() -> None:
            await program.start()
            self._down.discard(program.name)

        self.later(seconds, up)
        return True

    def freeze(self, program: Program, seconds: float) -> bool:
        if program.name in self._down:
            return False
        self._down.add(program.name)
        program.freeze()

        def thaw() -> None:
            program.thaw()
            self._down.discard(program.name)

        self.later(seconds, thaw)
        return True

    def well(self) -> list[Worker]:
        return [worker for worker in self.stage.workers if worker.program.name not in self._down]

    async def for_a_while(self, wishes: dict[str, Any], seconds: float) -> bool:
        """One worker gets these wrong, until so much later."""
        worker: Worker = pick(self.rng, self.stage.workers)
        if worker.program.name in self._down or not await worker.faults(**wishes):
            return False
        self.later(seconds, lambda: worker.faults(**{name: HEALTHY[name] for name in wishes}))
        return True

    async def verb(self, path: str, method: str = "POST", **arguments: Any) -> bool:
        """As a person who presses a button once; a server that is away, and 409, are part of the game."""
        with suppress(*AWAY):
            status, answer = await self.stage.call(method, path, api=self.rng.randrange(9), timeout=8, **arguments)
            self.diary.append(f"{method} {path}: {status} {json.dumps(answer)[:200]}")
            return status < 400
        return False


Fault = Callable[[Injector], Awaitable[bool]]

# --------------------------------------------------------------------------------------------------- what is killed


async def kill_orchestrator(i: Injector) -> bool:
    return await i.down(pick(i.rng, i.stage.orchestrators).program, i.seconds(0, 3))


async def kill_all_orchestrators(i: Injector) -> bool:
    seconds = i.seconds(0, 2)
    return any([await i.down(replica.program, seconds) for replica in i.stage.orchestrators])


async def freeze_orchestrator(i: Injector) -> bool:
    """Longer than its lease: it wakes up as somebody whose work has another owner."""
    return i.freeze(pick(i.rng, i.stage.orchestrators).program, i.seconds(0.5, LEASE_SECONDS + 4))


async def kill_api(i: Injector) -> bool:
    return await i.down(pick(i.rng, i.stage.apis).program, i.seconds(0, 2))


async def kill_postgres(i: Injector) -> bool:
    pid = i.stage.postgres.pid
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


async def kill_worker(i: Injector) -> bool:
    return await i.down(pick(i.rng, i.stage.workers).program, i.seconds(0, 3))


async def kill_worker_for_long(i: Injector) -> bool:
    """Until it counts as lost."""
    return await i.down(pick(i.rng, i.stage.workers).program, i.seconds(5, 9))


async def freeze_worker(i: Injector) -> bool:
    return i.freeze(pick(i.rng, i.stage.workers).program, i.seconds(0.5, 7))


async def freeze_worker_for_long(i: Injector) -> bool:
    """Until it counts as lost; then it goes on with what it holds."""
    return i.freeze(pick(i.rng, i.stage.workers).program, i.seconds(6, 9))


async def worker_forgets(i: Injector) -> bool:
    """As a crash that was repaired at once."""
    return await pick(i.rng, i.stage.workers).tell("/simulator/crash", {}) is not None


# ---------------------------------------------------------------------------------------------- what is got wrong


async def answer_lost(i: Injector) -> bool:
    kind = pick(i.rng, ["queued_but_500", "queued_but_cut"])
    return await pick(i.rng, i.stage.workers).faults(**{kind: i.rng.randint(1, 3)})


async def answer_never_comes(i: Injector) -> bool:
    return await pick(i.rng, i.stage.workers).faults(queued_but_silent=i.rng.randint(1, 2))


async def post_refused(i: Injector) -> bool:
    return await pick(i.rng, i.stage.workers).faults(refused_500=i.rng.randint(1, 2))


async def post_late(i: Injector) -> bool:
    """It reaches the queue only just before its sender gives up waiting."""
    body = {"posts": i.rng.randint(1, 2), "seconds": i.seconds(0.3, 0.8) * POST_SECONDS}
    return await pick(i.rng, i.stage.workers).tell("/simulator/late", body) is not None


async def job_stuck(i: Injector) -> bool:
    """ComfyUI's only thread has died and its HTTP goes on; somebody restarts it after a while."""
    workers = [worker for worker in i.well() if worker.program.name not in i._stuck]
    if len(workers) < 2:
        return False
    worker: Worker = pick(i.rng, workers)
    i._stuck.add(worker.program.name)

    async def restart() -> None:
        await i.down(worker.program, 0)
        i._stuck.discard(worker.program.name)

    i.later(i.seconds(14, 18), restart)
    return await worker.faults(stuck=True)


async def jobs_held(i: Injector) -> bool:
    return await i.for_a_while({"hold_jobs": True}, i.seconds(1, 5))


async def history_late(i: Injector) -> bool:
    return await i.for_a_while({"history_gap": i.seconds(0.1, 1.0)}, i.seconds(3, 6))


async def images_broken(i: Injector) -> bool:
    kind = pick(i.rng, ["truncated_images", "not_images", "cut_images", "huge_images"])
    return await pick(i.rng, i.stage.workers).faults(**{kind: i.rng.randint(1, 6)})


async def execution_errors(i: Injector) -> bool:
    return await pick(i.rng, i.stage.workers).faults(execution_errors=i.rng.randint(1, 4))


async def errors_everywhere(i: Injector) -> bool:
    """Until somebody mends what all of them do: prompts run out of retries meanwhile."""
    struck = [worker for worker in i.well() if await worker.faults(execution_errors=-1)]
    seconds = i.seconds(2, 4)
    for worker in struck:
        i.later(seconds, partial(worker.faults, execution_errors=0))
    return bool(struck)


async def out_of_memory(i: Injector) -> bool:
    return await i.for_a_while({"out_of_memory_above": 64 * 64}, i.seconds(0.5, 2))


async def proxy_in_trouble(i: Injector) -> bool:
    wishes = {"proxy": pick(i.rng, ["502", "html", "401", "silent"])}
    return await i.for_a_while(wishes, i.seconds(0.5, 7))


async def model_missing(i: Injector) -> bool:
    return await i.for_a_while({"missing_models": ["sdxl-simulated.safetensors"]}, i.seconds(1, 4))


async def socket_silent(i: Injector) -> bool:
    return await i.for_a_while({"silent_websocket": True}, i.seconds(2, 6))


async def stranger_submits(i: Injector) -> bool:
    worker = next((worker for worker in i.stage.workers if worker.takes_strangers), None)
    if worker is None:
        return False
    identity = str(uuid.UUID(int=i.rng.getrandbits(128), version=4))
    i.stage.strangers.add(identity)
    with (i.stage.directory / "foreign.jsonl").open("a") as stream:
        stream.write(json.dumps({"id": identity}) + "\n")
    return await worker.tell("/prompt", {"prompt": foreign(i.rng.getrandbits(40)), "prompt_id": identity}) is not None


# ------------------------------------------------------------------------------------------ what our machines do


async def clock_jumps(i: Injector) -> bool:
    """The wall clock of one machine: by seconds, by hours, or back to what is right."""
    replica: Replica = pick(i.rng, [*i.stage.orchestrators, *i.stage.orchestrators, *i.stage.apis])
    far = pick(i.rng, [0.0, 5.0, 20.0, 120.0, 7200.0]) * pick(i.rng, [-1, 1])
    if replica.control.get("clock") == far:
        far += 60.0
    replica.control.set("clock", far)
    return True


async def disk_slow(i: Injector) -> bool:
    return _slow(i, "slow_put", 1.5)


async def post_slow(i: Injector) -> bool:
    return _slow(i, "slow_post", 1.0)


async def reservation_slow(i: Injector) -> bool:
    return _slow(i, "slow_reserve", 1.5)


async def history_slow(i: Injector) -> bool:
    return _slow(i, "slow_history", 1.5)


def _slow(i: Injector, dial: Dial, most: float) -> bool:
    replica: Replica = pick(i.rng, i.stage.orchestrators)
    replica.control.set(dial, i.seconds(0.1, most))
    i.later(i.seconds(1, 5), lambda: replica.control.set(dial, 0.0))
    return True


# ------------------------------------------------------------------------------------------------ what people do


async def pause(i: Injector) -> bool:
    task = pick(i.rng, i.tasks)
    i.later(i.seconds(0.5, 4), lambda: i.verb(f"/api/tasks/{task}/resume"))
    return await i.verb(f"/api/tasks/{task}/pause")


async def cancel(i: Injector) -> bool:
    task = pick(i.rng, i.tasks)
    i.later(i.seconds(0.5, 3), lambda: i.verb(f"/api/tasks/{task}/run"))
    return await i.verb(f"/api/tasks/{task}/cancel")


async def run_again(i: Injector) -> bool:
    return await i.verb(f"/api/tasks/{pick(i.rng, i.tasks)}/run")


async def change_priority(i: Injector) -> bool:
    return await i.verb(f"/api/tasks/{pick(i.rng, i.tasks)}", "PATCH", json={"priority": i.rng.randint(-5, 5)})


async def drain(i: Injector) -> bool:
    worker: Worker = pick(i.rng, i.stage.workers)
    i.later(i.seconds(1, 4), lambda: i.verb(f"/api/workers/{worker.id}", "PATCH", json={"enabled": True}))
    return await i.verb(f"/api/workers/{worker.id}/drain")


async def disable(i: Injector) -> bool:
    worker: Worker = pick(i.rng, i.stage.workers)
    i.later(i.seconds(1, 4), lambda: i.verb(f"/api/workers/{worker.id}", "PATCH", json={"enabled": True}))
    return await i.verb(f"/api/workers/{worker.id}", "PATCH", json={"enabled": False})


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_orchestrator,
        kill_all_orchestrators,
        freeze_orchestrator,
        kill_api,
        kill_postgres,
        kill_worker,
        kill_worker_for_long,
        freeze_worker,
        freeze_worker_for_long,
        worker_forgets,
        answer_lost,
        answer_never_comes,
        post_refused,
        post_late,
        job_stuck,
        jobs_held,
        history_late,
        images_broken,
        execution_errors,
        errors_everywhere,
        out_of_memory,
        proxy_in_trouble,
        model_missing,
        socket_silent,
        stranger_submits,
        clock_jumps,
        disk_slow,
        post_slow,
        reservation_slow,
        history_slow,
        pause,
        cancel,
        run_again,
        change_priority,
        drain,
        disable,
    )
}

# What strikes in the first half of a round too: a busy machine does not come to its end.
EARLY = (
    "kill_postgres",
    "worker_forgets",
    "answer_lost",
    "job_stuck",
    "errors_everywhere",
    "clock_jumps",
    "disk_slow",
)


def rounds(rng: random.Random) -> Iterator[str]:
    """Every fault once a round, some twice, in an order of the seed's."""
    while True:
        deck = [*FAULTS]
        rng.shuffle(deck)
        first_half = [*EARLY, *deck[: len(EARLY)]]
        rng.shuffle(first_half)
        yield from first_half
        yield from deck[len(EARLY) :]
