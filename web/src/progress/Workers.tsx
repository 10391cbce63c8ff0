/** Which workers make the images of a task, how busy they are, and what keeps the others from it. */
import { useSignal } from '@preact/signals';
import { rate, seconds } from '../tasks/eta';
import type { Task } from '../tasks/server';
import { Icon, type IconName } from '../ui/Icon';
import { usePoll } from '../ui/poll';
import { count } from '../ui/words';
import { Busy } from './Busy';
import { type TaskWorker, workersOf } from './server';
import { fleetWords, inOrder, type Standing, standingOf } from './words';

const RUNNING_MS = 2_000;
const RESTING_MS = 10_000;
/** As many as are taken in at a glance; a hundred stand behind a button. */
const SHOWN = 8;

export function Workers({ task }: { task: Task }) {
  const workers = useSignal<TaskWorker[] | null>(null);
  const all = useSignal(false);
  usePoll(
    async (stop) => {
      workers.value = await workersOf(task.id, stop);
    },
    task.state === 'RUNNING' ? RUNNING_MS : RESTING_MS,
    `${task.id} ${task.state} ${task.paused}`,
  );
  if (!workers.value) return null;
  const rows = inOrder(workers.value);
  const shown = all.value ? rows : rows.slice(0, SHOWN);
  const fastest = Math.max(...rows.map((one) => one.images_per_second ?? 0));
  return (
    <section class="card" aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      <p class="soft">{fleetWords(rows)}</p>
      {rows.length > 0 && (
        <ul class="rows workers">
          {shown.map((worker) => (
            <Row key={worker.worker_id} worker={worker} fastest={fastest} />
          ))}
        </ul>
      )}
      {rows.length > SHOWN && (
        <button class="button" aria-expanded={all.value} onClick={() => (all.value = !all.value)}>
          {all.value ? 'Show fewer' : `Show all ${count(rows.length)} workers`}
        </button>
      )}
    </section>
  );
}

const ICONS: Record<Standing, IconName> = {
  Working: 'running',
  Able: 'done',
  'Cannot run this': 'failed',
  Away: 'away',
  'Switched off': 'pause',
};

function Row({ worker, fastest }: { worker: TaskWorker; fastest: number }) {
  const standing = standingOf(worker);
  return (
    <li class="worker" data-standing={standing}>
      <div class="worker-name">
        <b dir="auto">{worker.name}</b>
        <span class="badge" data-standing={standing}>
          <Icon name={ICONS[standing]} size={14} /> {standing}
        </span>
      </div>
      {(standing === 'Working' || standing === 'Able') && <Busy name={worker.name} share={worker.utilisation} />}
      <p class="numbers">
        {worker.held > 0 && <span>{count(worker.held)} in hand</span>}
        {worker.images_per_second !== null && <span>{rate(worker.images_per_second, fastest)}</span>}
        {worker.seconds_per_image !== null && <span>{seconds(worker.seconds_per_image)} each</span>}
        {worker.images > 0 && <span>{count(worker.images)} made</span>}
        {worker.failures > 0 && (
          <span class="failed-count">
            <Icon name="failed" size={14} /> {count(worker.failures)} failed
          </span>
        )}
      </p>
      <WhyNot worker={worker} />
    </li>
  );
}

/** `why_not` goes on from the worker's name; what it lacks may be said in it already. */
function WhyNot({ worker }: { worker: TaskWorker }) {
  const told = worker.why_not ?? '';
  const [, unhealthy] = /^is unhealthy: (.+)/.exec(told) ?? [];
  const untold = worker.missing.filter((thing) => !told.includes(thing));
  if (!told && untold.length === 0) return null;
  return (
    <p class="why-not">
      {told && `${unhealthy ?? `It ${told}`}`.replace(/\.?$/, '. ')}
      {untold.length > 0 && `It lacks ${untold.join(' and ')}.`}
    </p>
  );
}
