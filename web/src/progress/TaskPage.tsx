/** /tasks/{id}: one task as it stands now, and everything that can be done with it. */
import { useSignal } from '@preact/signals';
import { useLive } from '../live/useLive';
import { useActing } from '../tasks/acting';
import { Buttons, Refused } from '../tasks/Buttons';
import { type Change, type Task, workflowNames } from '../tasks/server';
import { StateBadge, stateWord } from '../tasks/StateBadge';
import { Icon } from '../ui/Icon';
import { Notice } from '../ui/Notice';
import { firstLine } from '../ui/title';
import { Facts } from './Facts';
import { Failures } from './Failures';
import { Pilot } from './Pilot';
import { Prompts } from './Prompts';
import { asTask, details, type Details, eventsOf, type Progress, standing } from './server';
import { Standing } from './Standing';
import { Workers } from './Workers';
import '../ui/cards.css';
import '../tasks/tasks.css';
import './progress.css';

export function TaskPage({ taskId }: { taskId: string }) {
  const found = useSignal<Details | null | undefined>(undefined);
  const now = useSignal<Progress | null>(null);
  const workflow = useSignal('');
  const away = useSignal(false);
  const askNow = useLive(
    {
      address: eventsOf(taskId),
      on: {
        progress: (progress: Progress) => {
          const moved = now.value !== null && progress.state !== now.value.state;
          now.value = progress;
          if (moved) askNow();
        },
      },
      ask: async (stop) => {
        try {
          const task = await details(taskId, stop);
          const progress = task && (await standing(taskId, stop));
          workflow.value ||= (task && (await workflowNames(stop)).get(task.workflow_id)) ?? 'A workflow';
          return () => {
            found.value = task;
            now.value = progress;
            away.value = false;
          };
        } catch {
          return () => (away.value = true);
        }
      },
    },
    taskId,
  );
  if (found.value === null) return <NoSuchTask />;
  if (!found.value || !now.value)
    return away.value ? <Notice icon="away" title="The server does not answer" live /> : null;
  const task = asTask(found.value, now.value);
  const changed = (change: Change) => {
    if (now.value) now.value = { ...now.value, ...change };
    askNow();
  };
  const pilot = <Pilot key="pilot" task={task} last={found.value.pilot} />;
  return (
    <article class="task task-page" data-state={task.state}>
      <Head task={task} workflow={workflow.value} changed={changed} away={away.value} />
      <Standing task={task} now={now.value} />
      {task.state === 'DRAFT' && pilot}
      <Workers task={task} />
      <Failures now={now.value} />
      <Prompts task={task} />
      {task.state !== 'DRAFT' && pilot}
      <Facts task={task} details={found.value} workflow={workflow.value} changed={() => changed({})} />
    </article>
  );
}

interface HeadProps {
  task: Task;
  workflow: string;
  changed: (change: Change) => void;
  away: boolean;
}

function Head({ task, workflow, changed, away }: HeadProps) {
  const title = firstLine(task.notes) ?? workflow;
  const acting = useActing(task, title, changed);
  return (
    <header class="page-head">
      <a class="back" href="/tasks">
        <Icon name="back" size={16} /> Tasks
      </a>
      <div class="task-head">
        <h1 dir="auto">{title}</h1>
        <StateBadge task={task} />
      </div>
      <p class="unseen" role="status">
        {stateWord(task)}
      </p>
      <p class="away-note" role="status">
        {away && 'The server does not answer; this is how things stood.'}
      </p>
      <div class="task-foot">
        <Buttons task={task} title={title} acting={acting} />
      </div>
      <Refused acting={acting} />
    </header>
  );
}

function NoSuchTask() {
  return (
    <Notice icon="empty" title="There is no such task">
      <p>The address is wrong, or the task was removed.</p>
      <a class="button" href="/tasks">
        To the tasks
      </a>
    </Notice>
  );
}
