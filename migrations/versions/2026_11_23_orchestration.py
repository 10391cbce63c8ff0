"""Many workers: what each can run, how busy it is, how fast it makes what, and why things failed."""

from alembic import op

revision = "2026_11_23_orchestration"
down_revision = "2026_11_22_labelling"
branch_labels = None
depends_on = None

# Workers with the same nodes and models share one inventory: a hundred equal ones keep one copy of 1.4 MB.
WORKERS = """
create table inventories (
  digest      text primary key,          -- SHA-256 of the canonical JSON
  object_info bytea not null,            -- gzip of that JSON
  nodes       int not null,
  created_at  timestamptz not null default now()
);

alter table workers
  add column headers          text,      -- extra headers for a proxy, a JSON object, encrypted as api_key is
  add column header_names     text[] not null default '{}',
  add column device           text,      -- as the worker names its first GPU
  add column vram_total       bigint,    -- bytes
  add column vram_free        bigint,    -- bytes, at the last check
  add column fingerprint      text,      -- of what /system_stats says that a restart or an update changes
  add column inventory_digest text references inventories,
  add column inventory_at     timestamptz;
"""

# How long the worker itself says that it computed.
SUBMISSIONS = """
alter table submissions add column seconds double precision check (seconds >= 0);
create index submissions_pilot on submissions (pilot_id, created_at) where pilot_id is not null;
"""

FAILURES = """
create table task_failures (
  task_id        uuid not null references tasks on delete cascade,
  kind           text not null,          -- a FailureKind
  failures       bigint not null default 0,
  last_message   text not null,
  last_worker_id uuid references workers,
  last_at        timestamptz not null default now(),
  primary key (task_id, kind)
);
"""

# Written once a second by each orchestrator. Gaps: from the end of one job to the start of the next, by the worker's
# own clock, while work was waiting; each column counts those up to that many milliseconds and above the one before.
ACTIVITY = """
create table worker_minutes (
  worker_id    uuid not null references workers on delete cascade,
  task_id      uuid not null references tasks on delete cascade,
  minute       timestamptz not null,
  submissions  bigint not null default 0,
  images       bigint not null default 0,
  failures     bigint not null default 0,
  busy_seconds double precision not null default 0,
  primary key (worker_id, minute, task_id)
);
create index worker_minutes_of_task on worker_minutes (task_id, minute);

create table worker_totals (
  worker_id    uuid primary key references workers on delete cascade,
  submissions  bigint not null default 0,
  images       bigint not null default 0,
  busy_seconds double precision not null default 0,
  gap_seconds  double precision not null default 0,
  gaps_10      bigint not null default 0,
  gaps_30      bigint not null default 0,
  gaps_100     bigint not null default 0,
  gaps_300     bigint not null default 0,
  gaps_1000    bigint not null default 0,
  gaps_3000    bigint not null default 0,
  gaps_more    bigint not null default 0
);

create table worker_failures (
  worker_id uuid not null references workers on delete cascade,
  kind      text not null,
  failures  bigint not null default 0,
  primary key (worker_id, kind)
);

-- How fast a worker makes images of one workflow at one size; older ones count less.
create table paces (
  worker_id         uuid not null references workers on delete cascade,
  workflow_id       uuid not null references workflows on delete cascade,
  width             int not null,
  height            int not null,
  seconds_per_image double precision not null check (seconds_per_image >= 0),
  images            bigint not null,
  updated_at        timestamptz not null default now(),
  primary key (worker_id, workflow_id, width, height)
);
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(WORKERS)
    op.execute(SUBMISSIONS)
    op.execute(FAILURES)
    op.execute(ACTIVITY)
