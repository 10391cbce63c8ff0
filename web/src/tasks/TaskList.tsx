/** /tasks: every task with its live progress, newest first. */
import { type Signal, useSignal } from '@preact/signals';
import { useLive } from '../live/useLive';
import { Notice } from '../ui/Notice';
import { type Change, EVENTS, type Task, taskPages, workflowNames } from './server';
import { TaskCard } from './TaskCard';
import '../ui/cards.css';
import './tasks.css';

export function TaskList() {
  const tasks = useSignal<Task[] | null>(null);
  const names = useSignal<Map<string, string>>(new Map());
  const pages = useSignal(1);
  const more = useSignal(false);
  const away = useSignal(false);
  const askNow = useLive(
    {
      address: EVENTS,
      on: {
        task: (task: Task) => {
          if (!put(tasks, task) && isNewer(task, tasks.value)) askNow();
        },
      },
      ask: async (stop) => {
        try {
          const found = await taskPages(pages.value, stop);
          const named = await namesFor(found.items, names.value, stop);
          return () => {
            names.value = named;
            tasks.value = found.items;
            more.value = found.more;
            away.value = false;
          };
        } catch {
          return () => (away.value = true);
        }
      },
    },
    pages.value,
  );

  if (!tasks.value) return away.value ? <Notice icon="away" title="The server does not answer" live /> : null;
  const changed = (task: Task, change: Change) => {
    put(tasks, { ...task, ...change });
    askNow();
  };
  return (
    <>
      <h1>Tasks</h1>
      <p class="away-note" role="status">
        {away.value && 'The server does not answer; this is how things stood.'}
      </p>
      {tasks.value.length === 0 && (
        <Notice icon="empty" title="No task yet">
          <p>
            A task made through the API appears here by itself: a workflow, variable pools, so many prompts and seeds.
          </p>
        </Notice>
      )}
      <ul class="cards">
        {tasks.value.map((task) => (
          <TaskCard
            key={task.id}
            task={task}
            workflow={names.value.get(task.workflow_id) ?? ''}
            changed={(change) => changed(task, change)}
          />
        ))}
      </ul>
      {more.value && (
        <button class="button" onClick={() => (pages.value += 1)}>
          Show older tasks
        </button>
      )}
    </>
  );
}

/** False: it is none of those shown. */
function put(tasks: Signal<Task[] | null>, task: Task): boolean {
  const shown = tasks.value ?? [];
  if (!shown.some((one) => one.id === task.id)) return false;
  tasks.value = shown.map((one) => (one.id === task.id ? task : one));
  return true;
}

/** Older ones that run stand on pages that nobody has asked for. */
function isNewer(task: Task, shown: readonly Task[] | null): boolean {
  const [newest] = shown ?? [];
  return !newest || Date.parse(task.created_at) >= Date.parse(newest.created_at);
}

/** What has no name after this is not asked for again. */
async function namesFor(
  tasks: readonly Task[],
  known: Map<string, string>,
  stop: AbortSignal,
): Promise<Map<string, string>> {
  const unnamed = tasks.filter((task) => !known.has(task.workflow_id));
  if (unnamed.length === 0) return known;
  const nameless = new Map(unnamed.map((task) => [task.workflow_id, 'A workflow']));
  return new Map([...known, ...nameless, ...(await workflowNames(stop))]);
}
