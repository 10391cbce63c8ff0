/** Every prompt with its images, a page at a time: a task may have fifty thousand. */
import { useSignal } from '@preact/signals';
import { Bar } from '../tasks/Made';
import type { Task } from '../tasks/server';
import { Icon } from '../ui/Icon';
import { usePoll } from '../ui/poll';
import { count, some } from '../ui/words';
import { type Page, promptPage, type PromptRow } from './server';
import './prompts.css';

const PAGE = 20;
const RUNNING_MS = 3_000;
const RESTING_MS = 30_000;

export function Prompts({ task }: { task: Task }) {
  const page = useSignal<Page | null>(null);
  const failed = useSignal(false);
  /** The cursors of the pages before this one, and its own. */
  const trail = useSignal<readonly (string | null)[]>([null]);
  const cursor = trail.value.at(-1) ?? null;
  usePoll(
    async (stop) => {
      page.value = await promptPage(task.id, { limit: PAGE, cursor, failed: failed.value }, stop);
    },
    task.state === 'RUNNING' ? RUNNING_MS : RESTING_MS,
    `${task.id} ${task.state} ${task.progress.failed} ${failed.value} ${cursor}`,
  );
  const show = (onlyFailed: boolean) => {
    failed.value = onlyFailed;
    trail.value = [null];
  };
  const planned = task.state === 'DRAFT' || task.state === 'FROZEN';
  return (
    <section class="card prompts" aria-labelledby="prompts">
      <div class="section-head">
        <h2 id="prompts">Prompts</h2>
        {!planned && (
          <div class="choices" role="group" aria-label="Which prompts">
            <Choice chosen={!failed.value} choose={() => show(false)} label="All" />
            <Choice chosen={failed.value} choose={() => show(true)} label="With failures" />
          </div>
        )}
      </div>
      {page.value?.rows.length === 0 && (
        <p class="soft">{failed.value ? 'No prompt has a failed image.' : 'There is no prompt here.'}</p>
      )}
      <ol class="rows">
        {page.value?.rows.map((row) => (
          <Row key={row.prompt_id} row={row} planned={planned} />
        ))}
      </ol>
      <Pager page={page.value} trail={trail.value} turn={(to) => (trail.value = to)} />
    </section>
  );
}

function Choice({ chosen, choose, label }: { chosen: boolean; choose: () => void; label: string }) {
  return (
    <button class="button" aria-pressed={chosen} onClick={choose}>
      {chosen && <Icon name="done" size={16} />} {label}
    </button>
  );
}

function Row({ row, planned }: { row: PromptRow; planned: boolean }) {
  const total = row.done + row.running + row.pending + row.failed;
  return (
    <li class="prompt">
      <span class="number">{count(row.position + 1)}</span>
      <div class="prompt-text">
        <p dir="auto" title={row.text}>
          {row.text}
        </p>
        {row.reason && row.failed > 0 && (
          <p class="why">
            <Icon name="failed" size={14} /> {row.reason}
          </p>
        )}
      </div>
      {planned ? (
        <p class="numbers">{some(total, 'image')}</p>
      ) : (
        <div class="prompt-made">
          <Bar label={`Images of prompt ${row.position + 1}`} counts={{ ...row, total }} />
          <p class="numbers">
            <span>
              {count(row.done)} of {count(total)}
            </span>
            {row.failed > 0 && <span class="failed-count">{count(row.failed)} failed</span>}
            {row.retries_used > 0 && <span>{some(row.retries_used, 'retry', 'retries')}</span>}
          </p>
        </div>
      )}
    </li>
  );
}

type Trail = readonly (string | null)[];

function Pager({ page, trail, turn }: { page: Page | null; trail: Trail; turn: (to: Trail) => void }) {
  const next = page?.next ?? null;
  if (trail.length === 1 && next === null) return null;
  return (
    <div class="pager">
      <button class="button" disabled={trail.length === 1} onClick={() => turn(trail.slice(0, -1))}>
        Before
      </button>
      <span class="soft">Page {count(trail.length)}</span>
      <button class="button" disabled={next === null} onClick={() => turn([...trail, next])}>
        Next
      </button>
    </div>
  );
}
