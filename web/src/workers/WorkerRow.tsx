/** One worker: its health, what it does and did, and what can be done about it. */
import { useSignal } from '@preact/signals';
import { Busy } from '../progress/Busy';
import { memory } from '../progress/words';
import { rate } from '../tasks/eta';
import { Icon, type IconName } from '../ui/Icon';
import { count, some } from '../ui/words';
import { type Activity, drain, enable, probe, type Worker } from './server';
import { failuresInWords, idle } from './words';

interface Props {
  worker: Worker;
  done: Activity | undefined;
  /** Images a second of the fastest of all. */
  fastest: number;
  changed: (worker: Worker) => void;
}

export function WorkerRow({ worker, done, fastest, changed }: Props) {
  const busy = useSignal(false);
  const told = useSignal<string | null>(null);
  const refused = useSignal<string | null>(null);
  const act = async (run: () => Promise<void>) => {
    busy.value = true;
    told.value = refused.value = null;
    try {
      await run();
    } catch (error) {
      refused.value = error instanceof Error ? error.message : String(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <li class="card worker-card">
      <div class="task-head">
        <h2 class="card-title" dir="auto">
          {worker.name}
        </h2>
        <Health worker={worker} />
      </div>
      <p class="soft facts">
        <span>{worker.base_url}</span>
        {worker.device && <span>{worker.device}</span>}
        {worker.vram_total !== null && (
          <span>
            {memory(worker.vram_total)}
            {worker.vram_free !== null && `, ${memory(worker.vram_free)} free`}
          </span>
        )}
        {worker.comfyui_version && <span>ComfyUI {worker.comfyui_version}</span>}
      </p>
      {worker.status === 'UNHEALTHY' && worker.reason && <p class="why-not">{worker.reason}</p>}
      {done && <Busy name={worker.name} share={done.utilisation} />}
      <Doing worker={worker} done={done} fastest={fastest} />
      {refused.value && (
        <p class="refused" role="alert">
          <Icon name="warning" /> {refused.value}
        </p>
      )}
      <div class="task-foot">
        <p class="soft told" role="status">
          {told.value}
        </p>
        <span class="spring" />
        <button
          class="button"
          disabled={busy.value}
          onClick={() => void act(async () => void (told.value = await test(worker)))}
        >
          Test<span class="unseen"> {worker.name}</span>
        </button>
        {worker.enabled ? (
          <button
            class="button"
            disabled={busy.value}
            onClick={() => void act(async () => changed(await drain(worker.id)))}
          >
            Drain<span class="unseen"> {worker.name}</span>
          </button>
        ) : (
          <button
            class="button primary"
            disabled={busy.value}
            onClick={() => void act(async () => changed(await enable(worker.id)))}
          >
            Switch on<span class="unseen"> {worker.name}</span>
          </button>
        )}
      </div>
    </li>
  );
}

function Health({ worker }: { worker: Worker }) {
  const looks: [IconName, string] = !worker.enabled
    ? ['pause', worker.held > 0 ? 'Draining' : 'Switched off']
    : worker.status === 'HEALTHY'
      ? ['done', 'Healthy']
      : ['away', 'Away'];
  return (
    <span class="badge" data-standing={looks[1]}>
      <Icon name={looks[0]} size={16} /> {looks[1]}
    </span>
  );
}

function Doing({ worker, done, fastest }: Omit<Props, 'changed'>) {
  return (
    <p class="numbers">
      <span>
        {count(worker.held)} in hand, {count(worker.max_concurrent_jobs)} sent at a time
      </span>
      {worker.current_queue_len > 0 && <span>{count(worker.current_queue_len)} in its queue</span>}
      {done?.images_per_second ? <span>{rate(done.images_per_second, fastest)}</span> : null}
      {done && done.images > 0 && <span>{some(done.images, 'image')}</span>}
      {done?.gap.p50_ms != null && <span>{idle(done.gap.p50_ms, done.gap.p95_ms)}</span>}
      {done && Object.keys(done.failures).length > 0 && (
        <span class="failed-count">
          <Icon name="failed" size={14} /> {failuresInWords(done.failures)}
        </span>
      )}
    </p>
  );
}

async function test(worker: Worker): Promise<string> {
  const { healthy, queue, reason } = await probe(worker.id);
  if (!healthy) return reason ?? 'It does not answer.';
  return `It answers: ${count(queue.running)} running, ${count(queue.pending)} waiting.`;
}
