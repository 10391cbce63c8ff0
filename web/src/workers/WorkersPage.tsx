/** /workers: every worker, how busy it was, and what is wrong with it. For whoever pays for them by the hour. */
import { useSignal } from '@preact/signals';
import { useLive } from '../live/useLive';
import { EVENTS } from '../tasks/server';
import { Notice } from '../ui/Notice';
import { type Activity, activity, type Heard, MINUTES, type Worker, workers } from './server';
import { fleetWords } from './words';
import { WorkerRow } from './WorkerRow';
import '../ui/cards.css';
import '../tasks/tasks.css';
import '../progress/progress.css';
import './workers.css';

export function WorkersPage() {
  const shown = useSignal<Worker[] | null>(null);
  const figures = useSignal<ReadonlyMap<string, Activity>>(new Map());
  const away = useSignal(false);
  const put = (worker: Pick<Worker, 'id'> & Partial<Worker>): boolean => {
    const rows = shown.value ?? [];
    if (!rows.some((one) => one.id === worker.id)) return false;
    shown.value = rows.map((one) => (one.id === worker.id ? { ...one, ...worker } : one));
    return true;
  };
  const askNow = useLive({
    address: EVENTS,
    on: {
      worker: ({ utilisation, images_per_second, ...worker }: Heard) => {
        if (!put(worker)) askNow();
        const known = figures.value.get(worker.id);
        if (known) figures.value = new Map(figures.value).set(worker.id, { ...known, utilisation, images_per_second });
      },
    },
    ask: async (stop) => {
      try {
        const [rows, done] = await Promise.all([workers(stop), activity(stop)]);
        return () => {
          shown.value = rows;
          figures.value = done;
          away.value = false;
        };
      } catch {
        return () => (away.value = true);
      }
    },
  });
  if (!shown.value) return away.value ? <Notice icon="away" title="The server does not answer" live /> : null;
  const fastest = Math.max(...[...figures.value.values()].map((one) => one.images_per_second ?? 0));
  const none = { utilisation: null, images_per_second: null };
  return (
    <>
      <div class="page-head">
        <h1>Workers</h1>
        <p class="soft">
          {fleetWords(shown.value.map((one) => ({ ...one, ...(figures.value.get(one.id) ?? none) })))} How busy and how
          fast: in the last {MINUTES} minutes; pauses and failures: of all times.
        </p>
      </div>
      <p class="away-note" role="status">
        {away.value && 'The server does not answer; this is how things stood.'}
      </p>
      <ul class="cards">
        {shown.value.map((worker) => (
          <WorkerRow
            key={worker.id}
            worker={worker}
            done={figures.value.get(worker.id)}
            fastest={fastest}
            changed={put}
          />
        ))}
      </ul>
    </>
  );
}
