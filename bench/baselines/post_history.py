"""What sending submissions can cost at best: a loop of POST /prompt, then GET /history/{id} until it is there.

It takes the workers in turns and keeps nothing: no plan, no database, nothing to go on from when it dies. With
--fetch it also gets the images that the history names, and throws them away.

python post_history.py [--fetch] SUBMISSIONS LOOPS WORKER_URL...    the graph on stdin; prints its seconds and CPU
"""

import argparse
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


async def main(submissions: int, loops: int, urls: list[str], graph: dict[str, Any], *, fetch: bool) -> None:
    turns = iter(itertools.islice(itertools.cycle(urls), submissions))
    async with aiohttp.ClientSession() as http:

        async def send_and_wait() -> None:
            for url in turns:
                identity = str(uuid.uuid4())
                graph["3"]["inputs"]["seed"] = random.getrandbits(52)
                async with http.post(f"{url}/prompt", json={"prompt": graph, "prompt_id": identity}) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
                while not (found := await history(url, identity)):
                    pass
                if fetch:
                    outputs = found[identity]["outputs"].values()
                    for image in (image for output in outputs for image in output["images"]):
                        async with http.get(f"{url}/view", params=image) as answer:
                            await answer.read()

        async def history(url: str, identity: str) -> dict[str, Any]:
            async with http.get(f"{url}/history/{identity}") as answer:
                found: dict[str, Any] = await answer.json()
                return found

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send_and_wait() for _ in range(loops)))
        print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--fetch", action="store_true")
    arguments.add_argument("submissions", type=int)
    arguments.add_argument("loops", type=int)
    arguments.add_argument("urls", nargs="+")
    given = arguments.parse_args()
    uvloop.run(main(given.submissions, given.loops, given.urls, json.loads(sys.stdin.read()), fetch=given.fetch))
