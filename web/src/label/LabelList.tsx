/** /label: the tasks whose pictures wait for an opinion. All that an annotator sees besides the labelling itself. */
import { useSignal } from '@preact/signals';
import { Icon } from '../ui/Icon';
import { Notice } from '../ui/Notice';
import { usePoll } from '../ui/poll';
import { isGenerating, labelTasks, reachable, titleOf, type LabelTask } from './server';
import '../ui/cards.css';

const POLL_MS = 2_000;

export function LabelList() {
  const tasks = useSignal<LabelTask[] | null>(null);
  const away = useSignal(false);
  usePoll(async (signal) => {
    try {
      tasks.value = await labelTasks(signal);
      away.value = false;
    } catch {
      away.value = !signal.aborted;
    }
  }, POLL_MS);
  if (!tasks.value) return away.value ? <Notice icon="away" title="The server does not answer" live /> : null;
  if (tasks.value.length === 0) {
    return (
      <Notice icon="empty" title="Nothing to label yet" live>
        <p>As soon as a task has pictures, it appears here by itself.</p>
      </Notice>
    );
  }
  return (
    <>
      <h1>Label</h1>
      {away.value && (
        <p class="away-note" role="status">
          The server does not answer; this is how things stood.
        </p>
      )}
      <ul class="cards">
        {tasks.value.map((task) => (
          <li key={task.task_id} class="card label-card">
            <LabelCard task={task} />
          </li>
        ))}
      </ul>
    </>
  );
}

function LabelCard({ task }: { task: LabelTask }) {
  const total = reachable(task);
  const title = titleOf(task);
  return (
    <>
      <div class="label-card-text">
        <h2 class="card-title" dir="auto">
          {title}
        </h2>
        <p class="soft">
          {task.done_by_me} of {total} {total === 1 ? 'batch' : 'batches'} labelled by you
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
          {isGenerating(task) ? 'More is being made' : 'All labelled'}
        </p>
      )}
    </>
  );
}
