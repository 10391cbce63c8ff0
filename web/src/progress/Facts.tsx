/** What a task is made of, what freezing locked, and its place in the queue. */
import { useSignal } from '@preact/signals';
import type { Task } from '../tasks/server';
import { Icon } from '../ui/Icon';
import { count, some } from '../ui/words';
import { type Details, setPriority, snapshotAddress } from './server';

const SHORT_DIGEST = 'sha256:'.length + 12;

interface Props {
  task: Task;
  details: Details;
  workflow: string;
  changed: () => void;
}

export function Facts({ task, details, workflow, changed }: Props) {
  const { width, height } = details.overrides;
  return (
    <section class="card" aria-labelledby="facts">
      <h2 id="facts">What it is made of</h2>
      <dl class="facts-list">
        <Fact name="Workflow" value={workflow} />
        <Fact
          name="Plan"
          value={`${some(task.target_prompts, 'prompt')} × ${some(task.seeds_per_prompt, 'seed')}, sent ${chunksInWords(task.chunks)}`}
        />
        {width && height && <Fact name="Size" value={`lowered by the pilot to ${width} × ${height}`} />}
        <Fact name="Made" value={moment(task.created_at)} />
        {task.started_at && <Fact name="Started" value={moment(task.started_at)} />}
        {task.ended_at && <Fact name="Ended" value={moment(task.ended_at)} />}
      </dl>
      {task.frozen_at && (
        <p class="locked">
          <Icon name="frozen" size={16} />
          <span>
            Locked since {moment(task.frozen_at)}: prompts, seeds and workflow can no longer change.{' '}
            {task.digest && <code title={task.digest}>{task.digest.slice(0, SHORT_DIGEST)}…</code>}
          </span>
          <a class="button" href={snapshotAddress(task.id)} download>
            <Icon name="download" /> Snapshot
          </a>
        </p>
      )}
      <Priority task={task} changed={changed} />
    </section>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Priority({ task, changed }: { task: Task; changed: () => void }) {
  const wanted = useSignal<number | null>(null);
  const refused = useSignal<string | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    if (wanted.value === null) return;
    try {
      await setPriority(task.id, wanted.value);
      wanted.value = refused.value = null;
    } catch (error) {
      refused.value = error instanceof Error ? error.message : String(error);
    }
    changed();
  };
  return (
    <form class="priority" onSubmit={save}>
      <label for="priority">Priority</label>
      <input
        id="priority"
        type="number"
        inputMode="numeric"
        min={-1000}
        max={1000}
        step={1}
        required
        value={wanted.value ?? task.priority}
        aria-describedby="priority-meaning"
        onInput={({ currentTarget: field }) => (wanted.value = field.validity.valid ? field.valueAsNumber : null)}
      />
      <button class="button" disabled={wanted.value === null || wanted.value === task.priority}>
        Set
      </button>
      <p id="priority-meaning" class="soft">
        Tasks with a higher number are made first; those with the same share the workers fairly.
      </p>
      {refused.value && (
        <p class="refused" role="alert">
          <Icon name="warning" /> {refused.value}
        </p>
      )}
    </form>
  );
}

/** "one by one", "4 at a time", "in parts of 4 and 2" */
function chunksInWords(chunks: readonly number[]): string {
  const sizes = [...new Set(chunks)];
  if (sizes.length > 1) return `in parts of ${sizes.map(count).join(' and ')}`;
  return sizes[0] === 1 ? 'one by one' : `${count(sizes[0] ?? 0)} at a time`;
}

function moment(time: string): string {
  return new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}
