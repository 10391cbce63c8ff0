import { Icon } from '../ui/Icon';
import { firstLine } from '../ui/title';
import { since, some } from '../ui/words';
import { useActing } from './acting';
import { Buttons, Refused } from './Buttons';
import { doneBetween, isRough, rate, timeLeft } from './eta';
import { Made } from './Made';
import type { Change, Task } from './server';
import { StateBadge } from './StateBadge';

interface Props {
  task: Task;
  workflow: string;
  changed: (change: Change) => void;
}

export function TaskCard({ task, workflow, changed }: Props) {
  const title = firstLine(task.notes) ?? workflow;
  const acting = useActing(task, title, changed);
  return (
    <li class="card task" data-state={task.state}>
      <div class="task-head">
        <h2 class="card-title" dir="auto">
          <a href={`/tasks/${task.id}`}>{title}</a>
        </h2>
        <StateBadge task={task} />
      </div>
      <Made task={task} title={title} />
      {task.state === 'RUNNING' && <Ahead task={task} />}
      <p class="soft facts">
        <span>
          {some(task.target_prompts, 'prompt')} × {some(task.seeds_per_prompt, 'seed')}
        </span>
        {workflow !== title && <span>{workflow}</span>}
        {task.priority !== 0 && <span>Priority {task.priority}</span>}
        <span>Made {since(task.created_at)}</span>
      </p>
      <Refused acting={acting} />
      <div class="task-foot">
        <a class="button quiet" href={`/tasks/${task.id}`}>
          Details<span class="unseen"> of {title}</span>
        </a>
        <span class="spring" />
        <Buttons task={task} title={title} acting={acting} />
      </div>
    </li>
  );
}

/** Speed and end of a run in one line. */
function Ahead({ task }: { task: Task }) {
  return (
    <p class="ahead">
      <Icon name={task.paused ? 'pause' : 'waiting'} size={16} />
      <span>{aheadInWords(task)}</span>
    </p>
  );
}

function aheadInWords({ paused, images_per_second: speed, eta_seconds: eta, eta_note: note }: Task): string {
  if (paused) return 'Paused: what is being made is kept, nothing new is sent.';
  const pace = speed === null ? '' : `${rate(speed)}. `;
  if (!eta) return pace + (note ?? 'Nobody knows yet how long it takes.');
  const end = `${timeLeft(eta)} left, ${doneBetween(eta, new Date())}${!note && isRough(eta) ? '; a rough guess so far' : ''}.`;
  return pace + end.charAt(0).toUpperCase() + end.slice(1) + (note ? ` ${note}` : '');
}
