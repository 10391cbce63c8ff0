"""The first schema: every table, its guards, and PgQueuer's own tables.

Runs on PostgreSQL 16 and newer: no function younger than that (ids are made in the application).
"""

from alembic import op
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

revision = "2026_11_22_initial"
down_revision = None
branch_labels = None
depends_on = None

ACCOUNTS = """
create table users (
  id            uuid primary key,
  name          text not null check (length(name) between 1 and 200),
  role          text not null check (role in ('admin', 'operator', 'annotator')),
  password_hash text,
  disabled_at   timestamptz,
  created_at    timestamptz not null default now()
);
create unique index users_name on users (lower(name));

-- Only hashes of secrets are kept: a copy of the database signs nobody in.
create table sessions (
  token_hash bytea primary key,
  user_id    uuid not null references users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index sessions_user on sessions (user_id);

create table api_tokens (
  id           uuid primary key,
  user_id      uuid not null references users on delete cascade,
  name         text not null,
  token_hash   bytea not null unique,
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz
);
create index api_tokens_user on api_tokens (user_id);

-- An invitation is a sign-in link of a new user.
create table sign_in_links (
  token_hash bytea primary key,
  user_id    uuid not null references users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at    timestamptz
);

create table audit_events (
  id         uuid primary key,
  user_id    uuid references users on delete set null,
  action     text not null,
  subject    text not null,
  detail     jsonb not null default '{}',
  created_at timestamptz not null default now()
);

create table idempotency_keys (
  user_id    uuid not null references users on delete cascade,
  key        text not null,
  request    bytea not null,  -- SHA-256 of method, path and body
  status     int,             -- null while the first request is still at work
  body       bytea,
  created_at timestamptz not null default now(),
  primary key (user_id, key)
);
"""

WORKERS = """
create table workers (
  id                  uuid primary key,
  name                text not null check (length(name) between 1 and 200),
  base_url            text not null,
  api_key             text,  -- encrypted
  enabled             boolean not null default true,
  status              text not null default 'UNHEALTHY' check (status in ('HEALTHY', 'UNHEALTHY')),
  priority            int not null default 0,
  max_concurrent_jobs int not null default 1 check (max_concurrent_jobs between 1 and 1000),
  current_queue_len   int not null default 0,
  failed_checks       int not null default 0,
  reason              text,  -- why it is UNHEALTHY, in words
  comfyui_version     text,
  last_checked_at     timestamptz,
  removed_at          timestamptz,  -- removed workers stay: images point at them
  tags                text[] not null default '{}',
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now()
);
create unique index workers_name on workers (name) where removed_at is null;
"""

WORKFLOWS = """
create table workflows (
  id              uuid primary key,
  name            text not null check (length(name) between 1 and 200),
  version         text not null,
  model           text not null,
  max_batch_size  int not null check (max_batch_size >= 1),
  seed_mode       text not null check (seed_mode in ('native', 'loop')),
  status          text not null check (status in ('valid', 'warnings', 'unverified')),
  prompt_nodes    jsonb not null,
  seed_nodes      jsonb not null,
  forbidden_nodes jsonb not null,
  bindings        jsonb not null,
  limits          jsonb not null,
  report          jsonb not null,
  raw_definition  jsonb not null,
  validated_at    timestamptz,
  created_at      timestamptz not null default now(),
  unique (name, version)
);

-- Why a worker cannot run a workflow, as that worker said. Forgotten when the worker restarts or after some minutes.
create table ineligible_workers (
  worker_id   uuid not null references workers on delete cascade,
  workflow_id uuid not null references workflows on delete cascade,
  reason      text not null,
  created_at  timestamptz not null default now(),
  primary key (worker_id, workflow_id)
);

create table variable_pools (
  id         uuid primary key,
  name       text not null check (length(name) between 1 and 200),
  version    int not null check (version >= 1),
  mode       text not null check (mode in ('no_replacement', 'permutation')),
  items      text[] not null check (cardinality(items) >= 1),
  created_at timestamptz not null default now(),
  unique (name, version)
);
"""

AB_TESTS = """
create table ab_tests (
  id         uuid primary key,
  name       text not null unique check (length(name) between 1 and 200),
  variants   jsonb not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now()
);

create table ab_assignments (
  id          uuid primary key,
  test_id     uuid not null references ab_tests on delete cascade,
  user_id     uuid not null references users on delete cascade,
  variant_key text not null,
  created_at  timestamptz not null default now(),
  unique (test_id, user_id)
);
"""

TASKS = """
create table tasks (
  id                    uuid primary key,
  workflow_id           uuid not null references workflows,
  state                 text not null check (state in ('DRAFT', 'FROZEN', 'RUNNING', 'DONE', 'FAILED')),
  notes                 text,
  target_prompts        int not null check (target_prompts >= 1),
  seeds_per_prompt      int not null check (seeds_per_prompt between 1 and 1000),
  variable_pool_ids     uuid[] not null,
  variable_pool_version text not null,
  sampling_seed         bigint not null,
  seed_mode             text not null check (seed_mode in ('native', 'loop')),
  batch_size            int not null check (batch_size >= 1),  -- planned images a submission
  overlap               int not null default 1 check (overlap between 1 and 100),
  blind                 boolean not null default false,
  priority              int not null default 0,
  ab_test_id            uuid references ab_tests,
  edits                 int not null default 0,  -- a pilot is void once this has moved on
  frozen_snapshot       jsonb,
  digest                text,
  end_reason            text,
  frozen_at             timestamptz,
  started_at            timestamptz,
  paused_at             timestamptz,
  ended_at              timestamptz,
  created_by            uuid references users on delete set null,
  created_at            timestamptz not null default now(),
  updated_at            timestamptz not null default now(),
  constraint frozen_means_snapshot check ((state = 'DRAFT') = (frozen_snapshot is null)),
  constraint frozen_means_time check ((state = 'DRAFT') = (frozen_at is null)),
  constraint ended_means_time check ((state in ('DONE', 'FAILED')) = (ended_at is not null))
);
create index tasks_newest on tasks (created_at desc, id desc);
create index tasks_running on tasks (priority desc, id) where state = 'RUNNING';

create table prompts (
  id         uuid primary key,
  task_id    uuid not null references tasks on delete cascade,
  position   int not null,
  text       text not null,
  variables  jsonb not null default '{}',
  edited     boolean not null default false,
  created_at timestamptz not null default now(),
  unique (task_id, position) deferrable initially immediate
);

create table seeds (
  id         uuid primary key,
  prompt_id  uuid not null references prompts on delete cascade,
  position   int not null,
  seed_value bigint not null check (seed_value >= 0 and seed_value < 9007199254740992),
  created_at timestamptz not null default now(),
  unique (prompt_id, position)
);

create table pilots (
  id           uuid primary key,
  task_id      uuid not null references tasks on delete cascade,
  edits        int not null,
  state        text not null check (state in ('running', 'done', 'failed', 'cancelled')),
  worker_id    uuid references workers,
  retries_used int not null default 0,
  ladder       jsonb not null default '[]',
  overrides    jsonb not null default '{}',
  heaviest     jsonb,
  forecast     jsonb,
  error        jsonb,  -- {status, code, message, data}: what the waiting request answers
  created_at   timestamptz not null default now(),
  ended_at     timestamptz
);
create index pilots_task on pilots (task_id, id desc);
create unique index pilots_one_running on pilots (task_id) where state = 'running';
"""

# Decided: the guards stand in the database too, so that no code path and no psql session can change what is frozen.
# FOR SHARE makes an edit and a freeze wait for each other; whoever comes second sees what the first one committed.
FREEZE_GUARDS = """
create function refuse_edit_of_frozen_tasks(task_ids uuid[]) returns void language plpgsql as $$
declare
  frozen uuid;
begin
  perform from tasks where id = any (task_ids) order by id for share;
  select id into frozen from tasks where id = any (task_ids) and state <> 'DRAFT' limit 1;
  if frozen is not null then
    raise exception 'task % is frozen: its prompts and seeds cannot change', frozen using errcode = 'CL001';
  end if;
end $$;

create function guard_new_prompts() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(select distinct task_id from new_rows));
  return null;
end $$;
create function guard_old_prompts() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(select distinct task_id from old_rows));
  return null;
end $$;
create function guard_changed_prompts() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(select task_id from old_rows union select task_id from new_rows));
  return null;
end $$;
create trigger frozen_insert after insert on prompts referencing new table as new_rows
  for each statement execute function guard_new_prompts();
create trigger frozen_update after update on prompts referencing old table as old_rows new table as new_rows
  for each statement execute function guard_changed_prompts();
create trigger frozen_delete after delete on prompts referencing old table as old_rows
  for each statement execute function guard_old_prompts();

create function guard_new_seeds() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts where id in (select prompt_id from new_rows)));
  return null;
end $$;
create function guard_old_seeds() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts where id in (select prompt_id from old_rows)));
  return null;
end $$;
create function guard_changed_seeds() returns trigger language plpgsql as $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts
    where id in (select prompt_id from old_rows union select prompt_id from new_rows)));
  return null;
end $$;
create trigger frozen_insert after insert on seeds referencing new table as new_rows
  for each statement execute function guard_new_seeds();
create trigger frozen_update after update on seeds referencing old table as old_rows new table as new_rows
  for each statement execute function guard_changed_seeds();
create trigger frozen_delete after delete on seeds referencing old table as old_rows
  for each statement execute function guard_old_seeds();

create function guard_truncate() returns trigger language plpgsql as $$
begin
  lock table tasks in share mode;
  if exists (select from tasks where state <> 'DRAFT') then
    raise exception 'a frozen task exists: % cannot be truncated', tg_table_name using errcode = 'CL001';
  end if;
  return null;
end $$;
create trigger frozen_truncate before truncate on prompts for each statement execute function guard_truncate();
create trigger frozen_truncate before truncate on seeds for each statement execute function guard_truncate();

create function guard_frozen_task() returns trigger language plpgsql as $$
begin
  if old.state <> 'DRAFT' and (
    new.state = 'DRAFT' or new.frozen_snapshot is distinct from old.frozen_snapshot
    or new.digest is distinct from old.digest or new.frozen_at is distinct from old.frozen_at
    or new.workflow_id is distinct from old.workflow_id or new.seed_mode is distinct from old.seed_mode
    or new.batch_size is distinct from old.batch_size or new.target_prompts is distinct from old.target_prompts
    or new.seeds_per_prompt is distinct from old.seeds_per_prompt
    or new.variable_pool_version is distinct from old.variable_pool_version
    or new.variable_pool_ids is distinct from old.variable_pool_ids
  ) then
    raise exception 'task % is frozen: its snapshot cannot change', old.id using errcode = 'CL001';
  end if;
  return new;
end $$;
create trigger frozen_update before update on tasks for each row execute function guard_frozen_task();
"""

GENERATIONS = """
create table batches (
  id           uuid primary key,
  task_id      uuid not null references tasks on delete cascade,
  prompt_id    uuid not null unique references prompts on delete cascade,
  position     int not null,
  total        int not null,
  done         int not null default 0,
  failed       int not null default 0,
  running      int not null default 0,
  retries_used int not null default 0,
  losses       int not null default 0,  -- submissions lost with their worker; three mean that the prompt is the cause
  candidates   int,                     -- images that may be judged; set once, with ready_at
  reason       text,
  spam_at      timestamptz,
  ready_at     timestamptz,
  constraint counters_fit check (done >= 0 and failed >= 0 and running >= 0 and done + failed + running <= total),
  constraint ready_means_candidates check ((ready_at is null) = (candidates is null))
) with (fillfactor = 80);
create index batches_position on batches (task_id, position);
create index batches_open on batches (task_id, position) where done + failed + running < total;
create index batches_ready on batches (task_id, ready_at, id) where ready_at is not null;

create table submissions (
  id           uuid primary key,  -- what ComfyUI calls prompt_id: a lowercase uuid4 that we choose
  worker_id    uuid not null references workers,
  task_id      uuid not null references tasks on delete cascade,
  prompt_id    uuid not null references prompts on delete cascade,
  pilot_id     uuid references pilots on delete cascade,
  chunk        int not null,
  attempt      int not null,
  state        text not null check (state in
    ('reserved', 'sent', 'accepted', 'generated', 'ingested', 'failed', 'lost', 'cancelled')),
  seed_value   bigint not null,
  batch_size   int not null,
  graph_digest text not null,
  error        jsonb,  -- {class, message}
  created_at   timestamptz not null default now(),
  sent_at      timestamptz,
  accepted_at  timestamptz,
  ended_at     timestamptz,
  constraint sent_means_time check (state in ('reserved', 'cancelled', 'failed', 'lost') or sent_at is not null),
  constraint ended_means_time check ((state in ('ingested', 'failed', 'lost', 'cancelled')) = (ended_at is not null))
);
create index submissions_slots on submissions (worker_id) where state in ('reserved', 'sent', 'accepted');
create index submissions_chunk on submissions (prompt_id, chunk);
create index submissions_open on submissions (task_id) where ended_at is null;

-- Partitioned by month on the UUIDv7 id. Foreign keys are NO ACTION: partitions serve vacuum and planning,
-- retention is per task.
create table generations (
  id              uuid not null primary key,
  task_id         uuid not null references tasks,
  prompt_id       uuid not null references prompts,
  seed_id         uuid references seeds,  -- the seed sent; null only for a pilot's extra seeds
  batch_id        uuid references batches,
  worker_id       uuid references workers,
  submission_id   uuid,
  pilot_id        uuid references pilots,
  pilot           boolean not null default false,
  state           text not null default 'pending' check (state in ('pending', 'running', 'done', 'failed')),
  position        int not null,           -- 0..N-1 among the images of its prompt
  chunk           int not null,
  seed_value      bigint not null,        -- as sent: the seed of the chunk's first image
  batch_index     int not null,
  batch_size      int not null,
  candidate_index int,
  image_uri       text,                   -- store-relative keys
  thumbnail_uri   text,
  preview_uri     text,
  checksum        text,
  bytes           bigint,
  width           int,
  height          int,
  retries_used    int not null default 0,
  metadata        jsonb not null default '{}',
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  constraint pilot_has_no_batch check (pilot = (batch_id is null)),
  constraint running_has_submission check (state <> 'running' or submission_id is not null),
  constraint done_has_image check (state <> 'done' or
    (image_uri is not null and checksum is not null and submission_id is not null and worker_id is not null))
) partition by range (id);
create index generations_prompt on generations (task_id, prompt_id);
create index generations_open on generations (task_id, id) where state = 'pending' and not pilot;
create index generations_batch on generations (batch_id, position);
create index generations_pilot on generations (pilot_id) where pilot;
create table generations_default partition of generations default;
"""

ANNOTATIONS = """
create table annotations (
  id                     uuid primary key,
  batch_id               uuid not null references batches,
  task_id                uuid not null references tasks,
  prompt_id              uuid not null references prompts,
  user_id                uuid not null references users,
  kind                   text not null check (kind in ('choice', 'tie', 'spam', 'skip')),
  chosen_index           int,
  rejected_index         int,
  chosen_generation_id   uuid references generations,
  rejected_generation_id uuid references generations,
  spam                   boolean not null default false,
  surplus                boolean not null default false,
  slot_order             int[],
  variant_key            text,
  client_id              text,
  elapsed_ms             int,
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  unique (batch_id, user_id),
  constraint choice_has_chosen check ((kind = 'choice') = (chosen_generation_id is not null)
    and (chosen_index is null) = (chosen_generation_id is null)
    and (rejected_index is null) = (rejected_generation_id is null)),
  constraint rejected_goes_with_chosen check (rejected_index is null
    or (chosen_index is not null and rejected_index <> chosen_index)),
  constraint spam_is_a_kind check (spam = (kind = 'spam'))
);
create unique index annotations_client on annotations (user_id, client_id) where client_id is not null;
create index annotations_task on annotations (task_id, batch_id);
create index annotations_mine on annotations (user_id, task_id);

-- What an answer was before it was changed: nothing an annotator said is lost.
create table annotation_history (
  id            uuid primary key,
  annotation_id uuid not null references annotations on delete cascade,
  answer        jsonb not null,
  replaced_at   timestamptz not null default now()
);
create index annotation_history_annotation on annotation_history (annotation_id);
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for sql in (
        ACCOUNTS,
        WORKERS,
        WORKFLOWS,
        AB_TESTS,
        TASKS,
        FREEZE_GUARDS,
        GENERATIONS,
        ANNOTATIONS,
        QueryBuilderEnvironment().build_install_query(),
    ):
        op.execute(sql)
