"""Labelling without waiting: leases, who is at work, a history that outlives an answer, images for tiles."""

from alembic import op

revision = "2026_11_22_labelling"
down_revision = "2026_11_22_initial"
branch_labels = None
depends_on = None

# `taken` counts the answers that count and the leases, run out or not: what is below the task's overlap is free.
# The first free batch is then the first entry of one range of an index, however many are leased or labelled.
LEASES = """
alter table batches add column taken int not null default 0 check (taken >= 0);
update batches set taken = counted.answers from (
  select batch_id, count(*) as answers from annotations where not surplus and kind <> 'skip' group by batch_id
) counted where counted.batch_id = batches.id;
create index batches_free on batches (task_id, taken, ready_at, id) where ready_at is not null and spam_at is null;

-- Who labels which task. A person's leases end together, so many minutes after the last contact.
create table labellers (
  task_id  uuid not null references tasks on delete cascade,
  user_id  uuid not null references users,
  seen_at  timestamptz not null default now(),
  answered int not null default 0,  -- this person's answers in the task, skips and surplus ones too
  primary key (task_id, user_id)
);
insert into labellers (task_id, user_id, seen_at, answered)
select task_id, user_id, max(updated_at), count(*) from annotations group by task_id, user_id;

create table leases (
  batch_id   uuid not null references batches on delete cascade,
  user_id    uuid not null references users,
  task_id    uuid not null references tasks on delete cascade,
  created_at timestamptz not null default now(),
  primary key (batch_id, user_id)
);
create index leases_held on leases (task_id, user_id);
"""

# An answer that was taken back is gone from annotations; what was said, and under which client_id, stays here.
HISTORY = """
alter table annotation_history
  drop constraint annotation_history_annotation_id_fkey,
  add column batch_id  uuid references batches on delete cascade,
  add column user_id   uuid references users,
  add column client_id text,  -- under which the old answer came
  add column undone_by text;  -- client_id of the undo that took it back; null when another answer replaced it
update annotation_history h set batch_id = a.batch_id, user_id = a.user_id, client_id = h.answer ->> 'client_id'
from annotations a where a.id = h.annotation_id;
alter table annotation_history alter column batch_id set not null, alter column user_id set not null;
create index annotation_history_client on annotation_history (user_id, client_id) where client_id is not null;
create index annotation_history_undo on annotation_history (user_id, undone_by) where undone_by is not null;
"""

# The 640 px picture that a tile of a phone shows. Images made before it existed have none: their preview stands in.
TILES = "alter table generations add column tile_uri text"


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for sql in (LEASES, HISTORY, TILES):
        op.execute(sql)
