/** What went wrong, by kind; and what was given up for it. */
import { Icon } from '../ui/Icon';
import { count, since, some } from '../ui/words';
import type { Progress } from './server';

export function Failures({ now }: { now: Progress }) {
  if (now.state === 'DRAFT' || now.state === 'FROZEN') return null;
  const { failures, reasons } = now;
  return (
    <section class="card" aria-labelledby="failures">
      <h2 id="failures">What went wrong</h2>
      {failures.length === 0 && now.failed === 0 && <p class="soft">Nothing has failed.</p>}
      {now.failed > 0 && (
        <div class="given-up">
          <p>
            <Icon name="failed" size={16} /> <b>{some(now.failed, 'image was', 'images were')} given up.</b>
          </p>
          <ul class="reasons">
            {reasons.map(({ reason, prompts }) => (
              <li key={reason}>
                <b>{some(prompts, 'prompt')}:</b> {reason ?? 'no reason was told'}
              </li>
            ))}
          </ul>
        </div>
      )}
      {failures.length > 0 && (
        <ul class="rows failures">
          {failures.map((failure) => (
            <li key={failure.kind}>
              <span class="times">{count(failure.count)} ×</span>
              <div>
                <p>{failure.words}</p>
                {failure.last_message && (
                  <p class="soft said">
                    Last, {since(failure.last_at)}: <q>{failure.last_message}</q>
                  </p>
                )}
              </div>
            </li>
          ))}
        </ul>
      )}
      {failures.length > 0 && <p class="soft">A prompt is tried again up to three times before it is given up.</p>}
    </section>
  );
}
