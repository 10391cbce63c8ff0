"""What sending submissions can cost at best: a loop of POST /prompt, then GET /history/{id} until it is there.

It takes the workers in turns and keeps nothing: no plan, no database, no images, nothing to go on from when it dies.

python post_history.py SUBMISSIONS LOOPS WORKER_URL...    the graph on stdin; prints its seconds and CPU
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


async def main(submissions: int, loops: int, urls: list[str], graph: dict[str, Any]) -> None:
    turns = iter(itertools.islice(itertools.cycle(urls), submissions))
    async with aiohttp.ClientSession() as http:

        async def send_and_wait() -> None:
            for url in turns:
                identity = str(uuid.uuid4())
                graph["3"]["inputs"]["seed"] = random.getrandbits(52)
                async with http.post(f"{url}/prompt", json={"prompt": graph, "prompt_id": identity}) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
                while not await has_ended(url, identity):
                    pass

        async def has_ended(url: str, identity: str) -> bool:
            async with http.get(f"{url}/history/{identity}") as answer:
                return identity in await answer.json()

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send_and_wait() for _ in range(loops)))
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:], json.load(sys.stdin)))
