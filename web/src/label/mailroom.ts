/** What lies in the browser's database: answers that wait, batches that are held. Its code comes after the first paint. */
import type { Signal } from '@preact/signals';
import { AnswersAnyway } from '../engine/answers.ts';
import { forgetOthers, HeldBatches, tasksHeldBy } from '../engine/held.ts';
import { KEPT_CACHE } from '../engine/kept.ts';
import { Outbox, type OutboxState, type OutboxWorld } from '../engine/outbox.ts';
import { openStorage } from '../engine/storage.ts';
import { post } from './post.ts';
import type { HeldState } from './supply.ts';
import type { Batch, Refusal } from './types.ts';

const database = openStorage();

const world: OutboxWorld = {
  later(run, ms) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  async alone(run) {
    // Without them (plain http) two tabs may send the same answer: the server stores it once.
    if (!('locks' in navigator)) return run().then(() => true);
    return navigator.locks.request('comfylabel outbox', { ifAvailable: true }, async (lock) => {
      if (lock) await run();
      return lock !== null;
    });
  },
  onLine: () => navigator.onLine,
};

export function openOutbox(state: Signal<OutboxState>, refusals: Signal<readonly Refusal[]>): Outbox {
  let asked = false;
  return new Outbox(new AnswersAnyway(database, openStorage), post, world, {
    onState(now) {
      state.value = now;
      if (asked || now.unsent === 0) return;
      asked = true;
      // A browser that is short of room throws away what nobody asked it to keep.
      void navigator.storage?.persist?.();
    },
    onRefused({ client_id, batch_id }, words) {
      refusals.value = [...refusals.value, { client_id, batch_id, words }];
    },
  });
}

export function openHeld(userId: string, taskId: string): HeldBatches<Batch, HeldState> {
  return new HeldBatches(database, userId, taskId);
}

export async function tasksOf(userId: string): Promise<string[]> {
  return tasksHeldBy(await database, userId);
}

/** Somebody else's prompts and pictures leave a shared device; their unsent answers stay and wait for them. */
export async function forgetWhatOthersHeld(userId: string): Promise<void> {
  const there = await forgetOthers(await database, userId).catch(() => false);
  if (there && 'caches' in globalThis) await caches.delete(KEPT_CACHE).catch(() => false);
}
