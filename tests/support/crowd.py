"""Other people's work: 200 000 images of 50 tasks, so that a query plan is the plan of a database in use.

40 tasks are DONE, five RUNNING with half of their images made, five FROZEN. 1000 prompts each, four seeds a prompt,
one native chunk of four; 100 labelled batches per finished task. Three months of `generations`.
"""

LOAD = """
set session_replication_role = replica;  -- no foreign keys and guards: the rows are right by construction
set timezone = 'UTC';

create function pg_temp.id(name text) returns uuid language sql immutable as $$ select md5(name)::uuid $$;
create function pg_temp.id7(moment timestamptz, name text) returns uuid language sql immutable as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7' || substr(md5(name), 1, 3)
    || '8' || substr(md5(name), 4, 15))::uuid $$;

insert into users (id, name, role)
select pg_temp.id('user' || u), 'crowd-' || u, 'annotator' from generate_series(1, 8) u;

insert into workers (id, name, base_url, status, last_checked_at)
select pg_temp.id('worker' || w), 'crowd-' || w, 'http://127.0.0.1:' || w, 'HEALTHY', now()
from generate_series(1, 8) w;

insert into workflows (id, name, version, model, max_batch_size, seed_mode, status, prompt_nodes, seed_nodes,
  forbidden_nodes, bindings, limits, report, raw_definition)
values (pg_temp.id('workflow'), 'crowd', '1', 'sdxl', 4, 'native', 'valid', '["6"]', '["3"]',
  '[]', '{}', '{}', '[]', '{}');

create temporary table crowd as
select t, pg_temp.id7(made, 'task' || t) as id, made,
  case when t <= 40 then 'DONE' when t <= 45 then 'RUNNING' else 'FROZEN' end as state
from generate_series(1, 50) t, lateral (select date_trunc('month', now()) + t * interval '1 day' as made);

insert into tasks (id, workflow_id, state, target_prompts, seeds_per_prompt, variable_pool_ids, variable_pool_version,
  sampling_seed, seed_mode, batch_size, frozen_snapshot, digest, frozen_at, started_at, ended_at, created_at)
select id, pg_temp.id('workflow'), state, 1000, 4, '{}', 'v1', t, 'native', 4, '{}', '', made,
  case when state <> 'FROZEN' then made end, case when state = 'DONE' then made end, made
from crowd;

insert into prompts (id, task_id, position, text)
select pg_temp.id('prompt' || t || '.' || p), id, p, 'a crowd of ' || p from crowd, generate_series(0, 999) p;

insert into seeds (id, prompt_id, position, seed_value)
select pg_temp.id('seed' || t || '.' || p || '.' || s), pg_temp.id('prompt' || t || '.' || p), s, t * 4000 + p * 4 + s
from crowd, generate_series(0, 999) p, generate_series(0, 3) s;

create temporary table chunks as
select crowd.*, p, (state = 'DONE' or (state = 'RUNNING' and p < 500)) as done from crowd, generate_series(0, 999) p;

insert into batches (id, task_id, prompt_id, position, total, done, candidates, ready_at)
select pg_temp.id('batch' || t || '.' || p), id, pg_temp.id('prompt' || t || '.' || p), p, 4,
  case when done then 4 else 0 end, case when done then 4 end, case when done then made + p * interval '1 second' end
from chunks;

insert into submissions (id, worker_id, task_id, prompt_id, chunk, attempt, state, seed_value, batch_size, graph_digest,
  sent_at, accepted_at, ended_at)
select pg_temp.id('submission' || t || '.' || p), pg_temp.id('worker' || (1 + p % 8)), id,
  pg_temp.id('prompt' || t || '.' || p), 0, 1, 'ingested', t * 4000 + p * 4, 4, '', made, made, made
from chunks where done;

insert into generations (id, task_id, prompt_id, seed_id, batch_id, worker_id, submission_id, state, position, chunk,
  seed_value, batch_index, batch_size, candidate_index, image_uri, thumbnail_uri, preview_uri, checksum, bytes,
  width, height)
select pg_temp.id7(made, 'image' || t || '.' || p || '.' || s), id, pg_temp.id('prompt' || t || '.' || p),
  pg_temp.id('seed' || t || '.' || p || '.0'), pg_temp.id('batch' || t || '.' || p),
  case when done then pg_temp.id('worker' || (1 + p % 8)) end,
  case when done then pg_temp.id('submission' || t || '.' || p) end,
  case when done then 'done' else 'pending' end, s, 0, t * 4000 + p * 4, s, 4, case when done then s end,
  case when done then 'tasks/' || id || '/' || md5(t || '.' || p || '.' || s) || '.png' end,
  case when done then 'tasks/' || id || '/' || md5(t || '.' || p || '.' || s) || '.256.webp' end,
  case when done then 'tasks/' || id || '/' || md5(t || '.' || p || '.' || s) || '.1024.webp' end,
  case when done then md5(t || '.' || p || '.' || s) end, case when done then 1000000 end, 1024, 1024
from chunks, generate_series(0, 3) s;

insert into annotations (id, batch_id, task_id, prompt_id, user_id, kind, chosen_index, chosen_generation_id, client_id)
select pg_temp.id('annotation' || t || '.' || p), pg_temp.id('batch' || t || '.' || p), id,
  pg_temp.id('prompt' || t || '.' || p), pg_temp.id('user' || (1 + p % 8)), 'choice', 0,
  pg_temp.id7(made, 'image' || t || '.' || p || '.0'), t || '.' || p
from chunks where done and p < 100;

update batches set taken = 1 where id in (select batch_id from annotations);
insert into labellers (task_id, user_id, seen_at, answered)
select task_id, user_id, max(created_at), count(*) from annotations group by task_id, user_id;

analyze;
"""


def batches_of(tasks: int, each: int) -> str:
    """Bare batches of that many tasks, half of them labelled: no prompt, no image, and no statistics about them."""
    return f"""
set session_replication_role = replica;
insert into batches (id, task_id, prompt_id, position, total, done, candidates, ready_at, taken)
select gen_random_uuid(), md5('other ' || t)::uuid, gen_random_uuid(), p, 4, 4, 4,
  now() - interval '1 day' + p * interval '1 second', p % 2
from generate_series(1, {tasks}) t, generate_series(1, {each}) p;
set session_replication_role = origin;
"""


# For the task that is looked at: ready one second after the other, in the order of their positions. In a transaction,
# after WITHOUT_GUARDS: a running task takes no new prompts.
WITHOUT_GUARDS = "set local session_replication_role = replica"
MORE_BATCHES = """
with more as materialized (
  select gen_random_uuid() as id, gen_random_uuid() as prompt_id, b.*, number
  from (select task_id, position, total, done, candidates, ready_at from batches
        where task_id = $1 order by position desc limit 1) b,
    generate_series(1, $2::int) number
), prompted as (
  insert into prompts (id, task_id, position, text) select prompt_id, task_id, position + number, 'more' from more
)
insert into batches (id, task_id, prompt_id, position, total, done, candidates, ready_at)
select id, task_id, prompt_id, position + number, total, done, candidates, ready_at + number * interval '1 second'
from more
"""
