/** /tasks: every task with its live progress, newest first. */
import { useSignal } from '@preact/signals';
import { Notice } from '../ui/Notice';
import { usePoll } from '../ui/poll';
import { taskPages, workflowNames, type Task } from './server';
import { TaskCard } from './TaskCard';
import '../ui/cards.css';
import './tasks.css';

const POLL_MS = 2_000;

export function TaskList() {
  const tasks = useSignal<Task[] | null>(null);
  const names = useSignal<Map<string, string>>(new Map());
  const pages = useSignal(1);
  const more = useSignal(false);
  const away = useSignal(false);
  const refresh = async (stop: AbortSignal) => {
    try {
      const found = await taskPages(pages.value, stop);
      const unnamed = found.items.filter((task) => !names.value.has(task.workflow_id));
      if (unnamed.length) {
        // What has no name after this is not asked for again.
        const nameless = new Map(unnamed.map((task) => [task.workflow_id, 'A workflow']));
        names.value = new Map([...names.value, ...nameless, ...(await workflowNames(stop))]);
      }
      tasks.value = found.items;
      more.value = found.more;
      away.value = false;
    } catch {
      away.value = !stop.aborted;
    }
  };
  usePoll(refresh, POLL_MS, pages.value);

  if (!tasks.value) return away.value ? <Notice icon="away" title="The server does not answer" live /> : null;
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
          <TaskCard key={task.id} task={task} workflow={names.value.get(task.workflow_id) ?? ''} refresh={refresh} />
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
