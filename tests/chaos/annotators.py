"""People who answer while images arrive: each answer is sent under one client_id until it is acknowledged."""

import asyncio
import json
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos.stage import Stage

# What a page does too: again, until it is told what became of it.
_PAUSE = 0.2
_THINKING = (0.05, 0.4)
AWAY = (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError)


@dataclass
class Annotator:
    """`number` is the person; one answer is under way at a time."""

    stage: Stage
    number: int
    rng: random.Random
    user_id: str = ""
    answers: int = 0
    repeats: int = 0
    refused: list[str] = field(default_factory=list)
    shown: dict[str, tuple[str, int]] = field(default_factory=dict)  # batch -> task, candidates

    @property
    def token(self) -> str:
        return self.stage.annotator_tokens[self.number]

    async def label(self, tasks: Callable[[], list[str]], is_over: Callable[[], bool]) -> None:
        while not is_over():
            for task in tasks():
                for item in await self._next(task):
                    await self._answer(task, item["batch_id"], len(item["generation_ids"]))
                    await asyncio.sleep(self.rng.uniform(*_THINKING))
                    if is_over():
                        return
            await self._change_my_mind()
            await asyncio.sleep(_PAUSE)

    async def release(self, task: str) -> None:
        path = f"/api/tasks/{task}/batches/release"
        await self._until_told(lambda api: self._call(api, "POST", path, {}))

    async def _next(self, task: str) -> list[Any]:
        """What is handed out now; nothing when the server is away."""
        try:
            status, answer = await self._call(self.number, "POST", f"/api/tasks/{task}/batches/next", {"count": 3})
        except AWAY:
            return []
        if status != 200:
            return []
        items: list[Any] = answer["data"]["items"]
        for item in items:
            served = {"batch_id": item["batch_id"], "generation_ids": item["generation_ids"]}
            self._note("served.jsonl", served)
            self.shown[item["batch_id"]] = (task, len(item["generation_ids"]))
        return items

    async def _answer(self, task: str, batch: str, candidates: int) -> None:
        kind = self.rng.choices(("choice", "tie", "skip", "spam"), (20, 3, 2, 1))[0]
        chosen = self.rng.randrange(candidates) if kind == "choice" else None
        body: dict[str, Any] = {"task_id": task, "batch_id": batch, "kind": kind, "client_id": str(uuid.uuid4())}
        if chosen is not None:
            body["chosen_index"] = chosen
        said = {"user_id": self.user_id, **body, "chosen_index": chosen, "rejected_index": None}
        self._note("answers.jsonl", {"event": "sent"} | said)
        status, answer = await self._until_told(lambda api: self._call(api, "POST", "/api/annotations", body))
        event = "acknowledged" if status in (200, 201) else "given_up"
        if event == "given_up":
            self.refused.append(f"{status} {answer}")
        self.answers += 1
        self._note("answers.jsonl", {"event": event} | said)
        if self.rng.random() < 0.1:  # the acknowledgement was lost on its way to the page
            await self._until_told(lambda api: self._call(api, "POST", "/api/annotations", body))

    async def _change_my_mind(self) -> None:
        if self.shown and self.rng.random() < 0.3:
            batch = self.rng.choice(sorted(self.shown))
            await self._answer(self.shown[batch][0], batch, self.shown[batch][1])

    async def _until_told(self, ask: Callable[[int], Awaitable[tuple[int, Any]]]) -> tuple[int, Any]:
        """What is no answer yet: a connection that broke, and 5xx."""
        api = self.number
        while True:
            try:
                status, answer = await ask(api)
                if status < 500:
                    return status, answer
            except AWAY:
                pass
            self.repeats += 1
            api += 1
            await asyncio.sleep(_PAUSE)

    async def _call(self, api: int, method: str, path: str, body: Any) -> tuple[int, Any]:
        return await self.stage.call(method, path, token=self.token, api=api, json=body)

    def _note(self, file: str, line: dict[str, Any]) -> None:
        with (self.stage.directory / file).open("a") as stream:
            stream.write(json.dumps(line) + "\n")
