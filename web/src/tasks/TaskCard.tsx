import { useSignal } from '@preact/signals';
import { Icon } from '../ui/Icon';
import { firstLine } from '../ui/title';
import { count, since, some } from '../ui/words';
import { actionsOf, canExport, type Action } from './actions';
import { askFirst } from './askFirst';
import { command, exportAddress, type Task } from './server';
import { StateBadge } from './StateBadge';
import { TaskDetails } from './TaskDetails';

interface Props {
  task: Task;
  workflow: string;
  refresh: (stop: AbortSignal) => Promise<void>;
}

export function TaskCard({ task, workflow, refresh }: Props) {
  const busy = useSignal(false);
  const open = useSignal(false);
  const refused = useSignal<string | null>(null);
  const title = firstLine(task.notes) ?? workflow;
  const act = async (action: Action) => {
    refused.value = null;
    busy.value = true;
    try {
      if (!(await askFirst(action.verb, task, title))) return;
      await command(task.id, action.verb);
      if (action.verb === 'pilot') open.value = true;
    } catch (error) {
      refused.value = error instanceof Error ? error.message : String(error);
    } finally {
      busy.value = false;
      await refresh(new AbortController().signal);
    }
  };
  return (
    <li class="card task" data-state={task.state}>
      <div class="task-head">
        <h2 class="card-title" dir="auto">
          {title}
        </h2>
        <StateBadge task={task} />
      </div>
      <Progress task={task} title={title} />
      <p class="soft facts">
        <span>
          {some(task.target_prompts, 'prompt')} × {some(task.seeds_per_prompt, 'seed')}
        </span>
        {workflow !== title && <span>{workflow}</span>}
        <span>Made {since(task.created_at)}</span>
      </p>
      {refused.value && (
        <p class="refused" role="alert">
          <Icon name="warning" /> {refused.value}
        </p>
      )}
      <div class="task-foot">
        <button class="button quiet" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
          {open.value ? 'Less' : 'More'}
          <span class="unseen"> about {title}</span>
        </button>
        <span class="spring" />
        {actionsOf(task).map((action) => (
          <button
            key={action.verb}
            class={action.primary ? 'button primary' : 'button'}
            disabled={busy.value}
            onClick={() => void act(action)}
          >
            {action.label}
            <span class="unseen"> {title}</span>
          </button>
        ))}
        {canExport(task) && (
          <>
            <a class="button" href={exportAddress(task.id)} download>
              <Icon name="download" /> Export
              <span class="unseen"> the answers of {title}</span>
            </a>
            <a class="button primary" href={`/label/${task.id}`}>
              Label<span class="unseen"> {title}</span>
            </a>
          </>
        )}
      </div>
      {open.value && <TaskDetails task={task} />}
    </li>
  );
}

/** Three parts of one bar; the numbers stand beside it, so nothing hangs on the colours. */
function Progress({ task, title }: { task: Task; title: string }) {
  const { total, done, running, failed } = task.progress;
  if (task.state === 'DRAFT' || task.state === 'FROZEN') {
    return (
      <p class="numbers">
        <b>{count(total)}</b> {total === 1 ? 'image' : 'images'} planned
      </p>
    );
  }
  const part = (value: number) => ({ width: `${total ? (100 * value) / total : 0}%` });
  return (
    <div class="progress">
      <div
        class="bar-track"
        role="progressbar"
        aria-label={`Images made: ${title}`}
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={done}
      >
        <span class="part-done" style={part(done)} />
        <span class="part-running" style={part(running)} />
        <span class="part-failed" style={part(failed)} />
      </div>
      <p class="numbers">
        <b>{count(done)}</b> of {some(total, 'image')}
        {running > 0 && <span>{count(running)} being made</span>}
        {failed > 0 && (
          <span class="failed-count">
            <Icon name="failed" size={14} /> {count(failed)} failed
          </span>
        )}
      </p>
    </div>
  );
}
