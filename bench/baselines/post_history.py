"""What sending submissions can cost at best: POST /prompt, then GET /history/{id} until it is there; nothing kept.

python post_history.py SUBMISSIONS AT_ONCE_PER_WORKER WORKER_URL...    the graph on stdin; prints its seconds and CPU
"""

import asyncio
import itertools
import json
import random
import sys
import time
import uuid
from typing import Any

import aiohttp
import uvloop

LOOK_SECONDS = 0.002  # between two looks at a history that has it not yet


async def main(submissions: int, at_once: int, urls: list[str], graph: dict[str, Any]) -> None:
    tickets = itertools.count()
    async with aiohttp.ClientSession() as http:

        async def send_and_wait(url: str) -> None:
            while next(tickets) < submissions:
                identity = str(uuid.uuid4())
                graph["3"]["inputs"]["seed"] = random.getrandbits(52)
                async with http.post(f"{url}/prompt", json={"prompt": graph, "prompt_id": identity}) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
                while not await has_ended(url, identity):
                    await asyncio.sleep(LOOK_SECONDS)

        async def has_ended(url: str, identity: str) -> bool:
            async with http.get(f"{url}/history/{identity}") as answer:
                return identity in await answer.json()

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send_and_wait(url) for url in urls for _ in range(at_once)))
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:], json.load(sys.stdin)))
