/** What the pilot found out: ten samples, what fits into a worker's memory, and how long the whole takes. */
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { settings } from '../tasks/askFirst';
import { giveOrTake, seconds, timeLeft } from '../tasks/eta';
import { pilotOf, type Pilot as Report, type Task } from '../tasks/server';
import { Icon } from '../ui/Icon';
import { usePoll } from '../ui/poll';
import { duration, some } from '../ui/words';
import type { Details } from './server';
import { memory, percent } from './words';
import './pilot.css';

const RUNNING_MS = 2_000;
const RESTING_MS = 60_000;

export function Pilot({ task, last }: { task: Task; last: Details['pilot'] }) {
  const pilot = useSignal<Report | null>(null);
  usePoll(
    async (stop) => {
      pilot.value = last && (await pilotOf(task.id, stop));
    },
    last?.state === 'running' ? RUNNING_MS : RESTING_MS,
    `${last?.id} ${last?.state} ${last?.void}`,
  );
  const report = pilot.value;
  if (!report && task.state !== 'DRAFT') return null;
  return (
    <section class="card" aria-labelledby="pilot">
      <h2 id="pilot">Pilot</h2>
      {report ? (
        <>
          <p role="status">{outcome(report)}</p>
          {report.forecast && <Forecast forecast={report.forecast} />}
          {report.heaviest && <p class="soft">The heaviest prompt was tried first: {report.heaviest.why}.</p>}
          <Ladder report={report} />
          <Samples report={report} />
        </>
      ) : (
        <p class="soft">
          No pilot was run yet. It makes ten images on one worker, and tells whether they fit into its memory and how
          long the whole takes.
        </p>
      )}
    </section>
  );
}

type ForecastOf = NonNullable<Report['forecast']>;

function Forecast({ forecast }: { forecast: ForecastOf }) {
  const { seconds_per_image: each, eta_seconds: eta, gpu_hours: hours, batch_size: batch, vram } = forecast;
  const sure = eta && giveOrTake(eta);
  return (
    <>
      <dl class="figures">
        {each !== null && <Figure name="One image takes">{seconds(each)}</Figure>}
        {eta && (
          <Figure name="The whole takes" more={sure}>
            {timeLeft(eta)}
          </Figure>
        )}
        {hours !== null && <Figure name="GPU time">{duration(hours * 3600)}</Figure>}
        {batch !== null && <Figure name="At a time">{some(batch, 'image')}</Figure>}
        {vram && (
          <Figure name="Memory left" more={`${memory(vram.lowest_free)} of ${memory(vram.total)} at the worst moment`}>
            {percent(vram.headroom, 1)}
          </Figure>
        )}
      </dl>
      {forecast.notes.length > 0 && (
        <ul class="dots soft">
          {forecast.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
    </>
  );
}

function Figure({ name, more, children }: { name: string; more?: string | null; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <b>{children}</b>
        {more && <span class="soft">{more}</span>}
      </dd>
    </div>
  );
}

function Ladder({ report }: { report: Report }) {
  if (report.ladder.length < 2) return null;
  return (
    <div>
      <p class="soft">
        What was tried
        {report.retries_used > 0 && `, with ${some(report.retries_used, 'retry', 'retries')}`}:
      </p>
      <ol class="ladder">
        {report.ladder.map((rung, index) => (
          <li key={index}>
            <Icon name={rung.outcome === 'ok' ? 'done' : 'failed'} size={14} />{' '}
            {rung.width && rung.height ? `${rung.width} × ${rung.height}, ` : ''}
            {some(rung.batch_size, 'image')} at a time: {rung.outcome === 'ok' ? 'fits' : 'out of memory'}
          </li>
        ))}
      </ol>
    </div>
  );
}

function Samples({ report }: { report: Report }) {
  if (report.samples.length === 0) return null;
  return (
    <ul class="samples">
      {report.samples.map((sample) => (
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
  );
}

function outcome(pilot: Report): string {
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
