/** What stands behind a card once it is opened: the pilot and what failed. Asked only while it is open. */
import { useSignal } from '@preact/signals';
import { usePoll } from '../ui/poll';
import { count, duration, some } from '../ui/words';
import { settings } from './askFirst';
import { lastPilot, progress, promptTexts, type Pilot, type Progress, type Task } from './server';

const POLL_MS = 2_000;
/** As many prompts as one answer holds; what failed beyond them is in the reasons' counts. */
const PROMPTS = 1_000;
const LISTED = 20;

export function TaskDetails({ task }: { task: Task }) {
  const pilot = useSignal<Pilot | null>(null);
  const standing = useSignal<Progress | null>(null);
  const texts = useSignal<Map<string, string>>(new Map());
  const loaded = useSignal(false);
  usePoll(
    async (stop) => {
      pilot.value = await lastPilot(task.id, stop);
      if (task.state !== 'DRAFT') {
        // The rows of every prompt are asked for only when another image has failed.
        const now = await progress(task.id, 1, stop);
        if (now.failed !== (standing.value?.failed ?? 0)) standing.value = await progress(task.id, PROMPTS, stop);
        if (standing.value && !texts.value.size) texts.value = await promptTexts(task.id, PROMPTS, stop);
      }
      loaded.value = true;
    },
    POLL_MS,
    task.state,
  );
  if (!loaded.value) return <div class="details" aria-busy="true" />;
  return (
    <div class="details">
      {standing.value && standing.value.failed > 0 ? (
        <Failures standing={standing.value} texts={texts.value} />
      ) : (
        task.state !== 'DRAFT' && task.state !== 'FROZEN' && <p>Nothing has failed.</p>
      )}
      {pilot.value ? <PilotReport pilot={pilot.value} /> : task.state === 'DRAFT' && <p>No pilot was run yet.</p>}
    </div>
  );
}

function Failures({ standing, texts }: { standing: Progress; texts: Map<string, string> }) {
  const failed = standing.per_prompt.filter((prompt) => prompt.failed > 0).slice(0, LISTED);
  return (
    <section>
      <h3>What failed</h3>
      <ul class="reasons">
        {standing.reasons.map(({ reason, prompts }) => (
          <li key={reason}>
            <b>{some(prompts, 'prompt')}:</b> {reason ?? 'no reason was told'}
          </li>
        ))}
      </ul>
      <ul class="failed-prompts">
        {failed.map((prompt) => (
          <li key={prompt.prompt_id}>
            <q dir="auto">{texts.get(prompt.prompt_id) ?? prompt.prompt_id}</q>
            <span class="soft">
              {count(prompt.failed)} failed, {count(prompt.done)} done, {some(prompt.retries_used, 'retry', 'retries')}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function PilotReport({ pilot }: { pilot: Pilot }) {
  const { forecast } = pilot;
  return (
    <section>
      <h3>Pilot</h3>
      <p role="status">{outcome(pilot)}</p>
      {forecast && (
        <p class="soft">
          {forecast.seconds_per_image.toFixed(1)} s an image; the whole takes about {duration(forecast.eta_seconds.low)}{' '}
          to {duration(forecast.eta_seconds.high)}, and {duration(forecast.gpu_hours * 3600)} of GPU time.
        </p>
      )}
      {pilot.ladder.length > 1 && (
        <ol class="ladder">
          {pilot.ladder.map((rung, index) => (
            <li key={index}>
              {rung.width && rung.height ? `${rung.width} × ${rung.height}, ` : ''}
              {some(rung.batch_size, 'image')} at a time: {rung.outcome === 'ok' ? 'fits' : 'out of memory'}
            </li>
          ))}
        </ol>
      )}
      {pilot.samples.length > 0 && (
        <ul class="samples">
          {pilot.samples.map((sample) => (
            <li key={sample.uri}>
              <a href={sample.uri} target="_blank" rel="noopener">
                <img
                  src={sample.thumbnail ?? sample.uri}
                  width={96}
                  height={96}
                  loading="lazy"
                  alt={`Sample with seed ${sample.seed}`}
                />
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function outcome(pilot: Pilot): string {
  const void_ = pilot.void ? ' The task was changed since: it counts no more.' : '';
  switch (pilot.state) {
    case 'running':
      return `Under way: ${pilot.samples.length} of 10 images are there.`;
    case 'done':
      return settings(pilot) + void_;
    case 'failed':
      return (pilot.error?.error ?? 'It failed.') + void_;
    default:
      return 'It was cancelled.';
  }
}
