/** /label: the tasks whose pictures wait for an opinion. All that an annotator sees besides the labelling itself. */
import { useSignal, useSignalEffect } from '@preact/signals';
import type { Entry, Waiting } from '../engine/outbox.ts';
import { me } from '../session';
import { Icon } from '../ui/Icon';
import { recall, remember } from '../ui/memory';
import { Notice } from '../ui/Notice';
import { usePoll } from '../ui/poll';
import { count, some } from '../ui/words';
import { mail } from './mail.ts';
import { labelTasks } from './list.ts';
import { isGenerating, reachable, titleOf, type LabelTask } from './server';
import '../ui/cards.css';

const POLL_MS = 2_000;

export function LabelList() {
  const tasks = useSignal<LabelTask[] | null>(null);
  const away = useSignal(false);
  const unsent = useUnsent();
  usePoll(async (signal) => {
    try {
      tasks.value = await labelTasks(signal);
      away.value = false;
      keep(tasks.value);
    } catch {
      away.value = !signal.aborted;
      tasks.value ??= kept();
    }
  }, POLL_MS);
  return (
    <>
      <Others waiting={unsent.value.others} />
      <Tasks tasks={tasks.value} away={away.value} unsent={unsent.value.mine} />
    </>
  );
}

function Tasks(props: { tasks: LabelTask[] | null; away: boolean; unsent: readonly Entry[] }) {
  const { tasks, away, unsent } = props;
  if (!tasks) return away ? <Away /> : null;
  if (tasks.length === 0) {
    return (
      <Notice icon="empty" title="Nothing to label yet" live>
        <p>As soon as a task has pictures, it appears here by itself.</p>
      </Notice>
    );
  }
  return (
    <>
      <h1>Label</h1>
      {away && (
        <p class="away-note" role="status">
          The server does not answer; this is how things stood. What is on this device can be labelled.
        </p>
      )}
      <ul class="cards">
        {tasks.map((task) => (
          <li key={task.task_id} class="card label-card">
            <LabelCard task={task} unsent={unsent.filter((entry) => entry.task_id === task.task_id).length} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** The list is not known, but what this person labelled last may lie on this device. */
function Away() {
  const [userId, taskId] = recall('task')?.split(' ') ?? [];
  return (
    <Notice icon="away" title="The server does not answer" live>
      <p>It is asked again every few seconds.</p>
      {taskId && userId === me.value?.id && (
        <a class="button primary" href={`/label/${taskId}`}>
          Go on with the last task
        </a>
      )}
    </Notice>
  );
}

function LabelCard({ task, unsent }: { task: LabelTask; unsent: number }) {
  const total = reachable(task);
  const title = titleOf(task);
  return (
    <>
      <div class="label-card-text">
        <h2 class="card-title" dir="auto">
          {title}
        </h2>
        <p class="soft">
          {count(task.done_by_me)} of {some(total, 'batch', 'batches')} labelled by you
          {unsent > 0 && <span class="card-unsent"> · {unsent} unsent</span>}
        </p>
        <progress value={task.done_by_me} max={Math.max(total, 1)} aria-label={`Labelled by you: ${title}`} />
      </div>
      {task.done_by_me < task.ready_batches ? (
        <a class="button primary" href={`/label/${task.task_id}`}>
          {task.done_by_me > 0 ? 'Continue' : 'Start'}
          <span class="unseen"> labelling {title}</span>
        </a>
      ) : (
        <p class="soft standing">
          <Icon name={isGenerating(task) ? 'waiting' : 'done'} />
          {isGenerating(task)
            ? `${some(task.batches - task.ready_batches, 'more is', 'more are')} being made`
            : 'All labelled'}
        </p>
      )}
    </>
  );
}

/** Nobody's answers are lost because somebody else uses the phone: they wait until their owner signs in. */
function Others({ waiting }: { waiting: readonly Waiting[] }) {
  if (waiting.length === 0) return null;
  return (
    <p class="others" role="status">
      <Icon name="kept" />
      <span>
        {waiting.map(({ name, count }) => `${some(count, 'answer')} of ${name}`).join(', ')}{' '}
        {waiting.length === 1 && waiting[0]?.count === 1 ? 'waits' : 'wait'} on this device for{' '}
        {waiting.length === 1 ? 'its owner' : 'their owners'} to sign in.
      </span>
    </p>
  );
}

/** What this device has not sent yet: of this person, and of others who used it. */
function useUnsent() {
  const unsent = useSignal<{ mine: readonly Entry[]; others: readonly Waiting[] }>({ mine: [], others: [] });
  useSignalEffect(() => {
    const userId = me.value?.id;
    void mail.state.value;
    if (!userId) return;
    void Promise.all([mail.of(userId), mail.counts()]).then(([mine, all]) => {
      unsent.value = { mine, others: all.filter((one) => one.user_id !== userId) };
    });
  });
  return unsent;
}

/** How the list stood, for when the server cannot be asked: the way to what lies on this device leads through it. */
function keep(tasks: readonly LabelTask[]): void {
  remember('tasks', JSON.stringify({ user: me.value?.id, tasks }));
}

function kept(): LabelTask[] | null {
  const list = JSON.parse(recall('tasks') ?? 'null') as { user: string; tasks: LabelTask[] } | null;
  return list && list.user === me.value?.id ? list.tasks : null;
}
