"""Hands out batches: each to as many people as the task's overlap asks for, to nobody twice, and at once.

A lease decides what is served, never what is accepted (docs/decisions/0006). The rules of how many stand in share.py,
the statements and the order of locks in leases_repository.py, what a process remembers in hints.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from comfylabel.ab_tests.bucketing import Variant
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.schemas import Principal
from comfylabel.annotations import batches_repository, leases_repository, repository
from comfylabel.annotations.batches import to_item
from comfylabel.annotations.deal import deal
from comfylabel.annotations.hints import BEFORE_ALL, Marks, OpenCounts, Place, Walk
from comfylabel.annotations.leases_repository import Look
from comfylabel.annotations.schemas import LabelledTask
from comfylabel.annotations.service import LABELLED_STATES, hides
from comfylabel.annotations.share import HOLD, HOLD_OFFLINE, LEASE, in_order_of, share, sort_out
from comfylabel.db.pool import Connection, Database
from comfylabel.errors import InvalidField, NotFound, WrongState

# Another batch is made every few seconds on one GPU, and sooner on many.
RETRY_AFTER_SECONDS = 5


Assignment = Callable[[Connection, UUID, UUID], Awaitable[Variant | None]]


class Sign(Protocol):
    """As Signer.signed_url: `origin` is an image server to name in place of the usual one."""

    def __call__(self, key: str, *, origin: str | None = None) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """`count`: how many the page wants to hold in all; `have`: what it has already, in its order."""

    count: int = HOLD
    have: Sequence[UUID] = ()
    offline: bool = False

    @property
    def most(self) -> int:
        return HOLD_OFFLINE if self.offline else HOLD


@dataclass(slots=True)
class _Visit:
    """One person at one task, in one transaction."""

    connection: Connection
    principal: Principal
    task: LabelledTask
    look: Look
    hold: int
    walks: list[Walk] = field(default_factory=list)
    freed: bool = False  # something may be free for others behind their marks

    @property
    def user_id(self) -> UUID:
        return self.principal.user_id

    @property
    def levels(self) -> list[int]:
        """What others have begun is finished before something new is begun."""
        return list(range(self.task.overlap - 1, -1, -1))


class Dispenser:
    """`database` plans by index: every statement here touches a few rows."""

    def __init__(self, database: Database, ab_tests: AbTestService, sign: Sign) -> None:
        self._database = database
        self._ab_tests = ab_tests
        self._sign = sign
        self._marks = Marks()
        self._counts = OpenCounts()

    async def next_batches(self, principal: Principal, task_id: UUID, asked: Asked) -> dict[str, Any]:
        """What this person shall judge next: the same leases first, then what is free, up to their share."""
        if asked.count > asked.most:
            raise InvalidField("count", f"must be at most {HOLD}, or {HOLD_OFFLINE} with offline")
        async with self._database.transaction() as connection:
            task = await leases_repository.enter(connection, task_id, principal.user_id, LABELLED_STATES)
            visit = await self._visit(connection, principal, task_id, task, asked.most)
            queue = await self._fill(visit, asked)
            variant = await _variant(self._ab_tests.assigned, connection, visit.task, principal.user_id)
            answer = await self._answer(visit, queue, asked, variant, leased=True)
        self._marks.learn(task_id, principal.user_id, visit.walks)
        if visit.freed:
            self.came_back(task_id)
        return answer

    async def peek(self, principal: Principal, task_id: UUID, limit: int) -> dict[str, Any]:
        """The same answer from what the person holds already, else with the first free batch; it writes nothing."""
        async with self._database.transaction() as connection:
            task = await repository.task(connection, task_id)
            visit = await self._visit(connection, principal, task_id, task, HOLD)
            held = sort_out(visit.look.held, (), visit.hold).keep
            queue = held or await self._first_free(visit, [BEFORE_ALL] * visit.task.overlap)
            variant = await _variant(self._ab_tests.proposed, connection, visit.task, principal.user_id)
            return await self._answer(visit, queue, Asked(count=limit), variant, leased=bool(held))

    async def release(self, principal: Principal, task_id: UUID, batch_ids: Sequence[UUID] | None) -> int:
        """Give back these leases, or all; how many that were."""
        async with self._database.transaction() as connection:
            if await repository.hold_task(connection, task_id) is None:
                raise _no_task(task_id)
            released = await leases_repository.release(connection, task_id, principal.user_id, batch_ids)
        self.came_back(task_id)
        return released

    async def batch(self, principal: Principal, task_id: UUID, batch_id: UUID) -> dict[str, Any]:
        """One ready batch as it is shown, with addresses as of now; it leases nothing."""
        async with self._database.transaction() as connection:
            task = await repository.task(connection, task_id)
            if task is None:
                raise _no_task(task_id)
            if not await leases_repository.is_ready(connection, task_id, batch_id):
                raise NotFound(f"There is no batch {batch_id} in this task, or it is not ready.")
            variant = await _variant(self._ab_tests.proposed, connection, task, principal.user_id)
            return (await self._items(connection, principal, task, [batch_id], variant))[0]

    def came_back(self, task_id: UUID) -> None:
        """Something of this task is free again: look for it from the start."""
        self._marks.forget(task_id)

    async def _visit(
        self, connection: Connection, principal: Principal, task_id: UUID, task: LabelledTask | None, most: int
    ) -> _Visit:
        if task is None:
            raise _no_task(task_id)
        if task.state not in LABELLED_STATES:
            raise WrongState(f"This task is {task.state}: nothing in it can be judged before it runs.")
        known, began = self._counts.recent(task.id), self._counts.clock()
        look = await leases_repository.look(connection, task, principal.user_id, known)
        if known is None:
            self._counts.learn(task.id, look.open, look.active, self._counts.clock() - began, most)
        return _Visit(connection, principal, task, look, share(look.open, look.active, most))

    async def _fill(self, visit: _Visit, asked: Asked) -> list[UUID]:
        """The leases that this person has from now on, in the order in which to work."""
        connection, task, me = visit.connection, visit.task, visit.user_id
        sorted_out = sort_out(visit.look.held, asked.have, visit.hold)
        queue = sorted_out.keep
        if sorted_out.give_back:
            visit.freed |= await leases_repository.give_back(connection, task.id, me, sorted_out.give_back)
        if visit.look.gone:
            visit.freed |= await leases_repository.reclaim(connection, task.id, visit.look.gone)
        if (shown := _not_held(asked.have, visit.look)) and len(queue) < visit.hold:
            # A page may show a batch that it only looked at: it becomes theirs if it is still free.
            queue += await leases_repository.take_named(connection, task, me, shown, visit.hold - len(queue))
        wanted = min(asked.count, visit.hold)
        if len(queue) < wanted:
            queue += await self._take(visit, wanted - len(queue), has_none=not queue)
        if len(queue) < wanted:
            their_share = share(visit.look.open, visit.look.active, HOLD_OFFLINE)
            queue += await leases_repository.take_over(connection, task, me, their_share, wanted - len(queue))
        return in_order_of(asked.have, queue)

    async def _take(self, visit: _Visit, most: int, *, has_none: bool) -> list[UUID]:
        """From the marks on, and again from the start when that was too little: something may have come back."""
        task_id, levels = visit.task.id, visit.levels
        if visit.freed:
            return await self._walk(visit, most, [BEFORE_ALL] * len(levels))
        found = await self._walk(visit, most, self._marks.starts(task_id, visit.user_id, levels))
        hungry = has_none and not found
        if len(found) < most and self._marks.drop(task_id, visit.user_id, levels, whatever_it_costs=hungry):
            starts = self._marks.starts(task_id, visit.user_id, levels)
            found += await self._walk(visit, most - len(found), starts)
        return found

    async def _walk(self, visit: _Visit, most: int, starts: Sequence[Place]) -> list[UUID]:
        began = self._marks.clock()
        free = await leases_repository.take(
            visit.connection, visit.task.id, visit.user_id, most, levels=visit.levels, starts=starts
        )
        found: dict[int, list[Place]] = {}
        for batch in free:
            found.setdefault(batch.level, []).append(batch.place)
        took = self._marks.clock() - began
        visit.walks.append(Walk(began, took, visit.levels, starts, found, short=len(free) < most))
        return [batch.batch_id for batch in free]

    async def _first_free(self, visit: _Visit, starts: Sequence[Place]) -> list[UUID]:
        free = await leases_repository.peek(
            visit.connection, visit.task.id, visit.user_id, 1, levels=visit.levels, starts=starts
        )
        return [batch.batch_id for batch in free]

    async def _answer(
        self, visit: _Visit, queue: Sequence[UUID], asked: Asked, variant: Variant | None, *, leased: bool
    ) -> dict[str, Any]:
        have, place = set(asked.have), {batch_id: number for number, batch_id in enumerate(queue, 1)}
        told = [batch_id for batch_id in queue[: asked.count] if batch_id not in have]
        items = await self._items(visit.connection, visit.principal, visit.task, told, variant)
        seen_at = visit.look.seen_at
        for item in items:
            item["position"] = visit.look.answered + place[item["batch_id"]]
            item["leased_until"] = seen_at + LEASE if leased and seen_at else None
        state = "work" if queue else await self._why_nothing(visit)
        return {
            "items": items,
            "dropped": [batch_id for batch_id in dict.fromkeys(asked.have) if batch_id not in place],
            "done_by_me": visit.look.answered,
            "open": visit.look.open,
            "hold": visit.hold,
            "state": state,
            "retry_after": RETRY_AFTER_SECONDS if state == "wait" else None,
            "lease_seconds": int(LEASE.total_seconds()),
            "variant": variant.as_json() if variant else None,
        }

    async def _why_nothing(self, visit: _Visit) -> str:
        """Nothing was handed out; what seems free all the same is locked by an answer that is being stored."""
        if await leases_repository.to_come(visit.connection, visit.task, visit.user_id):
            return "wait"
        starts = self._marks.starts(visit.task.id, visit.user_id, visit.levels)
        return "wait" if await self._first_free(visit, starts) else "finished"

    async def _items(
        self,
        connection: Connection,
        principal: Principal,
        task: LabelledTask,
        batch_ids: Sequence[UUID],
        variant: Variant | None,
    ) -> list[dict[str, Any]]:
        if not batch_ids:
            return []
        rows = await batches_repository.shown(connection, batch_ids, principal.user_id)
        sign = partial(self._sign, origin=variant.settings.cdn_url if variant else None)
        hidden = hides(principal, blind=task.blind)
        return [
            to_item(rows[batch_id], sign, hidden=hidden)
            | {"slot_order": deal(batch_id, principal.user_id, len(rows[batch_id].image_keys))}
            for batch_id in batch_ids
        ]


async def _variant(how: Assignment, connection: Connection, task: LabelledTask, user_id: UUID) -> Variant | None:
    return await how(connection, task.ab_test_id, user_id) if task.ab_test_id else None


def _not_held(have: Sequence[UUID], look: Look) -> list[UUID]:
    held = {lease.batch_id for lease in look.held}
    return [batch_id for batch_id in dict.fromkeys(have) if batch_id not in held]


def _no_task(task_id: UUID) -> NotFound:
    return NotFound(f"There is no task {task_id}.")
