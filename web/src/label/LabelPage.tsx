/** /label/{task}: one batch after another. Tap the better picture; the next ones are already here. */
import { useComputed, useSignalEffect } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { askWho, me } from '../session';
import { Icon } from '../ui/Icon';
import { Notice } from '../ui/Notice';
import { usePoll } from '../ui/poll';
import { Bar } from './Bar';
import { loadPicture, plan, Prefetcher } from './prefetch';
import { Sender } from './sender';
import { post, serverFor } from './server';
import { LabelSession } from './session';
import { Stage } from './Stage';
import './label.css';

const POLL_MS = 3_000;

/** One for as long as the page is open: answers that wait outlive the visit to one task. */
const sender = keptWarm(new Sender(post));

export function LabelPage({ taskId }: { taskId: string }) {
  const [session] = useState(
    () =>
      new LabelSession(
        taskId,
        serverFor(taskId, (answer) => sender.put(answer)),
      ),
  );
  useKeys(session);
  usePrefetch(session);
  useEffect(() => {
    if (me.value) void session.load().then(() => sender.flush());
  }, [me.value]);
  const working = session.phase.value === 'work';
  return (
    <main class="labelling" data-phase={session.phase}>
      <Top session={session} />
      {!me.value ? <SessionEnded /> : working ? <Work session={session} /> : <Rest session={session} />}
      <Refusal />
    </main>
  );
}

function Work({ session }: { session: LabelSession }) {
  return (
    <>
      <Prompt session={session} />
      <Stage session={session} />
      <Bar session={session} />
    </>
  );
}

function Top({ session }: { session: LabelSession }) {
  const { mine, total } = session.progress.value;
  const unsent = sender.unsent.value;
  return (
    <header class="label-top">
      <a class="button quiet square" href="/label" aria-label="Back to the list">
        <Icon name="back" size={22} />
      </a>
      <span class="label-title" dir="auto">
        {session.standing.value?.title}
      </span>
      <span class="unsent" role="status">
        {sender.held.value && `${unsent} unsent`}
      </span>
      {total > 0 && (
        <span class="count" aria-hidden="true">
          <b>{mine}</b> of {total}
        </span>
      )}
      <progress
        class="label-progress"
        value={mine}
        max={Math.max(total, 1)}
        aria-label="Batches that you have labelled"
      />
    </header>
  );
}

/** Two lines stand; a longer prompt opens in a sheet. The room is kept, so that no picture ever moves. */
function Prompt({ session }: { session: LabelSession }) {
  const batch = session.current.value;
  if (!batch) return null;
  return (
    <div class="prompt">
      <h1 class="unseen">Which picture is better?</h1>
      <button class="prompt-text" popovertarget="prompt-sheet" aria-label={`Prompt: ${batch.prompt}`}>
        <span dir="auto">{batch.prompt}</span>
      </button>
      <div id="prompt-sheet" class="sheet" popover="auto">
        <h2>Prompt</h2>
        <p dir="auto">{batch.prompt}</p>
        {batch.seeds.length > 0 && (
          <>
            <h2>Seeds</h2>
            <ol>
              {batch.seeds.map((seed, index) => (
                <li key={index}>
                  {seed} #{batch.batch_indexes[index]}
                </li>
              ))}
            </ol>
          </>
        )}
      </div>
    </div>
  );
}

function Rest({ session }: { session: LabelSession }) {
  const phase = session.phase.value;
  const polling = phase === 'waiting' || phase === 'gone' || phase === 'away';
  usePoll(async () => (polling ? session.load() : undefined), POLL_MS, polling);
  const { mine } = session.progress.value;
  const back = session.batches.value.length > 0 && (
    <button class="button" onClick={() => session.back()}>
      <Icon name="undo" /> Look at the last one again
    </button>
  );
  const list = (
    <a class="button primary" href="/label">
      To the list
    </a>
  );
  switch (phase) {
    case 'waiting':
      return (
        <Notice icon="waiting" title="More pictures are on their way" live>
          <p>You have labelled everything that is ready. The next batch appears here by itself.</p>
          {back}
        </Notice>
      );
    case 'finished':
      return (
        <Notice icon="done" title={mine ? 'All done, thank you' : 'Nothing to label here'} live>
          <p>
            {mine
              ? `You have labelled ${mine} ${mine === 1 ? 'batch' : 'batches'} of this task.`
              : 'Every batch of this task has its answers.'}
          </p>
          {list}
          {back}
        </Notice>
      );
    case 'gone':
      return (
        <Notice icon="empty" title="There is nothing to label here" live>
          <p>The task has no pictures yet, or it was removed. Pictures that come appear here by themselves.</p>
          {list}
        </Notice>
      );
    case 'away':
      return (
        <Notice icon="away" title="The server does not answer" live>
          <p>It is asked again every few seconds. Keep this page open: unsent answers live in it.</p>
          {list}
        </Notice>
      );
    default:
      return <p class="unseen">Loading</p>;
  }
}

function SessionEnded() {
  const unsent = sender.unsent.value;
  return (
    <Notice icon="key" title="Your session has ended" live>
      <p>
        Open a new sign-in link in another tab, then come back to this one.
        {unsent > 0 && ` ${unsent === 1 ? 'One answer waits' : `${unsent} answers wait`} here to be sent.`}
      </p>
      <button class="button primary" onClick={() => void askWho()}>
        I have signed in
      </button>
    </Notice>
  );
}

function Refusal() {
  const words = sender.refused.value;
  return (
    <div class="toast-place" role="alert">
      {words && (
        <p class="toast">
          <span>An answer was not taken: {words}</span>
          <button class="button quiet" onClick={() => (sender.refused.value = null)}>
            Close
          </button>
        </p>
      )}
    </div>
  );
}

/** Send as soon as the network is back; ask before unsent answers are thrown away. */
function keptWarm(sender: Sender): Sender {
  addEventListener('online', () => void sender.flush());
  addEventListener('beforeunload', (event) => {
    if (sender.unsent.value > 0) event.preventDefault();
  });
  return sender;
}

function useKeys(session: LabelSession): void {
  useEffect(() => {
    const stop = new AbortController();
    addEventListener('keydown', (event) => onKey(session, event), { signal: stop.signal });
    return () => stop.abort();
  }, []);
}

function onKey(session: LabelSession, event: KeyboardEvent): void {
  if (event.metaKey || event.ctrlKey || event.altKey || event.repeat || !me.value) return;
  const key = event.key.toLowerCase();
  const meaning: Record<string, () => void> = {
    x: () => session.toggleRejecting(),
    s: () => session.answer('spam'),
    t: () => session.answer('tie'),
    k: () => session.answer('skip'),
    z: () => session.back(),
  };
  const act = /^[1-9]$/.test(key) ? () => session.name(Number(key) - 1) : meaning[key];
  if (!act) return;
  event.preventDefault();
  act();
}

/** Follows the shown batch one frame later: fetching the coming pictures never delays the present one. */
function usePrefetch(session: LabelSession): void {
  const [prefetcher] = useState(() => new Prefetcher(loadPicture));
  const urls = useComputed(() => plan(session.batches.value, session.at.value));
  useSignalEffect(() => {
    const wanted = urls.value;
    requestAnimationFrame(() => setTimeout(() => prefetcher.want(wanted)));
  });
}
