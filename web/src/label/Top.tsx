/** Above the pictures: the way back, the prompt, how far one has come. Its room is kept from the first paint. */
import { Fragment } from 'preact';
import { useComputed, type ReadonlySignal } from '@preact/signals';
import { Line, LINES } from '../ui/Line.tsx';
import type { SheetName } from './Screen.tsx';
import type { Progress, Sitting } from './types.ts';

interface TopProps {
  sitting: Sitting;
  /** A frame later than the pictures. */
  progress: ReadonlySignal<Progress>;
  open: (sheet: SheetName) => void;
}

export function Top({ sitting, progress, open }: TopProps) {
  return (
    <header class="label-top">
      <a class="button quiet square" href="/label" aria-label="Back to the list">
        <Line path={LINES.back} size={22} />
      </a>
      <span class="label-title" dir="auto">
        {sitting.title}
      </span>
      <Prompt sitting={sitting} open={open} />
      <div class="label-tools">
        <span class="unsent" role="status">
          {useComputed(() => (sitting.held.value && sitting.unsent.value > 0 ? `${sitting.unsent.value} unsent` : ''))}
        </span>
        <Count sitting={sitting} progress={progress} />
        <button class="button quiet square keys-button" aria-label="Keys" onClick={() => open('keys')}>
          <Line path={LINES.keys} size={20} />
        </button>
        <button class="button quiet square" aria-label="Settings" onClick={() => open('settings')}>
          <Line path={LINES.settings} size={20} />
        </button>
      </div>
      <ProgressLine progress={progress} />
    </header>
  );
}

/** Two lines stand; the rest is in a sheet, with all else that may be known of the pictures. */
function Prompt({ sitting, open }: Omit<TopProps, 'progress'>) {
  const batch = sitting.current.value;
  return (
    <button
      class="prompt-text"
      aria-label={`Prompt: ${batch?.prompt ?? ''}`}
      aria-keyshortcuts="I"
      disabled={!batch}
      onClick={() => open('about')}
    >
      {/* Another text is another element: it stands where it fits best, and nothing has moved there. */}
      <Fragment key={batch?.batch_id}>
        <span dir="auto">{batch?.prompt}</span>
        <Line path={LINES.about} size={18} />
      </Fragment>
    </button>
  );
}

function Count({ sitting, progress }: Omit<TopProps, 'open'>) {
  // Told once the batch stands, not while somebody runs through the rail.
  const said = useComputed(() => {
    const { position, total } = progress.value;
    return sitting.current.value && total > 0 ? `Batch ${position} of ${total}` : '';
  });
  const room = Math.max(11, 2 * String(progress.value.total).length + 3);
  return (
    <>
      <span class="count" aria-hidden="true" style={{ '--room': `${room}ch` }}>
        {useComputed(() => said.value.replace('Batch ', ''))}
      </span>
      <span class="unseen position" role="status">
        {said}
      </span>
    </>
  );
}

function ProgressLine({ progress }: Pick<TopProps, 'progress'>) {
  return (
    <progress
      class="label-progress"
      value={useComputed(() => progress.value.mine)}
      max={useComputed(() => Math.max(progress.value.total, 1))}
      aria-label="Batches that you have labelled"
    />
  );
}
