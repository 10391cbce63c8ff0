"""What handing out batches and taking answers can cost at best: Starlette, asyncpg, two statements, no sign-in.

The statements hand out one batch by FOR UPDATE SKIP LOCKED beyond a low-water mark, and store the answer.

python dispenser.py DATABASE_URL --fill OTHERS BATCHES    makes the tables: batches of task 1, then of task 2
python dispenser.py DATABASE_URL --listen SOCKET          serves on that open socket (its file number)
"""

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

LEASE = timedelta(minutes=15)
BEHIND = 64  # the mark stays behind what was handed out last by more than the clients at work

TABLES = """
create table batch (id bigserial primary key, task int not null, data jsonb not null,
  state smallint not null default 0, lease_user text, lease_until timestamptz);
create index batch_open on batch (task, id) where state = 0;
create index batch_lease on batch (task, lease_user) where state = 0 and lease_user is not null;
create table annotation (id bigserial primary key, batch bigint not null references batch, usr text not null,
  choice text not null, created_at timestamptz not null default now(), unique (batch, usr));
"""

# The user's own live lease first, so that a reload shows the same batch; else the first free one beyond the mark.
NEXT = """
with own as (
  select id from batch where task = $1 and state = 0 and lease_user = $2 and lease_until > now() limit 1
), pick as (
  select id from batch
  where task = $1 and state = 0 and (task, id) > ($1, $3)
    and (lease_until is null or lease_until < now()) and not exists (select from own)
  order by task, id limit 1 for update skip locked
)
update batch b set lease_user = $2, lease_until = now() + $4::interval
from (select id from own union all select id from pick) x where b.id = x.id
returning b.id, b.data::text
"""

SUBMIT = """
with answer as (
  insert into annotation (batch, usr, choice) values ($1, $2, $3)
  on conflict (batch, usr) do update set choice = excluded.choice
)
update batch set state = 1, lease_user = null where id = $1
"""


async def fill(url: str, others: int, batches: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    for task, count in ((1, others), (2, batches)):
        rows = ((task, '{"images": []}') for _ in range(count))
        await connection.copy_records_to_table("batch", columns=["task", "data"], records=rows)
    await connection.execute("analyze batch")
    await connection.close()


class Dispenser:
    def __init__(self, url: str) -> None:
        self.url = url
        self.marks: dict[int, int] = {}

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(self.url, min_size=4, max_size=12) as self.pool:
            yield

    async def next(self, request: Request) -> JSONResponse:
        asked = await request.json()
        task, user = asked["task"], asked["user"]
        row = await self.pool.fetchrow(NEXT, task, user, self.marks.get(task, 0), LEASE)
        if row is None and self.marks.pop(task, 0):  # go back for abandoned leases behind the mark
            row = await self.pool.fetchrow(NEXT, task, user, 0, LEASE)
        if row is None:
            return JSONResponse(None)
        self.marks[task] = max(self.marks.get(task, 0), row["id"] - BEHIND)
        return JSONResponse({"id": row["id"], "data": row["data"]})

    async def submit(self, request: Request) -> JSONResponse:
        answer = await request.json()
        await self.pool.execute(SUBMIT, answer["batch"], answer["user"], answer["choice"])
        return JSONResponse({"stored": True})


def serve(url: str, listener: int) -> None:
    dispenser = Dispenser(url)
    routes = [Route("/next", dispenser.next, methods=["POST"]), Route("/submit", dispenser.submit, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=dispenser.lifespan)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("--fill", type=int, nargs=2)
    arguments.add_argument("--listen", type=int)
    given = arguments.parse_args()
    if given.fill:
        asyncio.run(fill(given.url, *given.fill))
    if given.listen is not None:
        serve(given.url, given.listen)
