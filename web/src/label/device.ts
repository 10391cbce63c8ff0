/** Pictures on this device, for the offline mode. Its code comes when somebody turns that on, or signs out. */
import type { Signal } from '@preact/signals';
import { KeptPictures } from '../engine/kept.ts';
import { Keeping } from './keeping.ts';
import { mailroom } from './mail.ts';
import { serverFor } from './server.ts';
import type { Offline } from './types.ts';

/** Also in sw/sw.ts, which imports nothing. */
const TAKE_ME = 'take me';

export function openKeeping(state: Signal<Offline>): Promise<Keeping> {
  void navigator.storage?.persist?.();
  void askWorker();
  return Keeping.open(pictures(), state);
}

/** Kept pictures come from the service worker, which leaves alone a page that was there before it (sw/sw.ts). */
async function askWorker(): Promise<void> {
  if (!navigator.serviceWorker.controller) (await navigator.serviceWorker.ready).active?.postMessage(TAKE_ME);
}

/** Before a sign-out: what this person holds goes back to the others, and their pictures from this device. */
export async function releaseAll(userId: string): Promise<void> {
  const { openHeld, tasksOf } = await mailroom;
  for (const taskId of await tasksOf(userId)) {
    const held = openHeld(userId, taskId);
    const { batches } = await held.load();
    await held.clear();
    const ids = batches.map((batch) => batch.batch_id);
    await serverFor(taskId)
      .release(ids)
      .catch(() => undefined);
  }
  if ('caches' in globalThis) await pictures().clear();
}

function pictures(): KeptPictures {
  return new KeptPictures(
    caches,
    (url) => fetch(ownAddress(url)),
    () => navigator.serviceWorker.controller !== null,
  );
}

/** The page may show pictures of a CDN and not read them; the server itself has them under the same path. */
function ownAddress(url: string): string {
  const { pathname, search } = new URL(url, location.origin);
  return pathname + search;
}
