/** Short words over the pictures: an answer that was refused, and that being offline is no reason to stop. */
import { useSignal, useSignalEffect } from '@preact/signals';
import type { Sitting } from './types.ts';

/** Long enough to read the sentence twice. */
const READ_MS = 7_000;

export function Toasts({ sitting }: { sitting: Sitting }) {
  const [refusal] = sitting.refusals.value;
  const close = () => (sitting.refusals.value = sitting.refusals.value.slice(1));
  return (
    <>
      <p role="status">
        <GoOn sitting={sitting} />
      </p>
      <div role="alert">
        {refusal && (
          <p class="toast bad">
            <span>An answer was not taken: {refusal.words}</span>
            <button class="button quiet" onClick={close}>
              Close
            </button>
          </p>
        )}
      </div>
    </>
  );
}

/** Said once each time that answers begin to wait; how many do stands above for as long as they do. */
function GoOn({ sitting }: { sitting: Sitting }) {
  const said = useSignal(false);
  useSignalEffect(() => {
    const waits = sitting.held.value && sitting.phase.value === 'work';
    said.value = waits;
    if (!waits) return;
    const timer = setTimeout(() => (said.value = false), READ_MS);
    return () => clearTimeout(timer);
  });
  if (!said.value) return null;
  return (
    <span class="toast">
      {navigator.onLine ? 'The server does not answer.' : 'You are offline.'} Go on: your answers are kept{' '}
      {sitting.lasting.value ? 'on this device' : 'in this page'}.
    </span>
  );
}
