/** The outbox of this device. One for as long as the page is open: answers that wait outlive the visit to one task. */
import { effect, signal } from '@preact/signals';
import { AnswersAnyway } from '../engine/answers.ts';
import { Outbox, type OutboxState, type OutboxWorld } from '../engine/outbox.ts';
import { openStorage } from '../engine/storage.ts';
import { askWho, gone, me } from '../session.ts';
import { post } from './server.ts';
import type { Mail } from './session.ts';
import type { Refusal } from './types.ts';

export const database = openStorage();
const state = signal<OutboxState>({ unsent: 0, held: null, lasting: true });
const refusals = signal<readonly Refusal[]>([]);

const world: OutboxWorld = {
  later,
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

const outbox = new Outbox(new AnswersAnyway(database), post, world, {
  onState(now) {
    if (now.held === 'someone else' && state.value.held !== now.held) void askWho();
    state.value = now;
  },
  onRefused({ client_id, batch_id }, words) {
    refusals.value = [...refusals.value, { client_id, batch_id, words }];
  },
});

export const mail: Mail & Pick<Outbox, 'counts'> = {
  state,
  refusals,
  put: (entry) => outbox.put(entry),
  takeBack: (clientId, undo) => outbox.takeBack(clientId, undo),
  flush: () => outbox.flush(),
  of: (userId) => outbox.of(userId),
  counts: () => outbox.counts(),
};

export function later(run: () => void, ms: number): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

effect(() => {
  if (me.value) void outbox.signedIn(me.value.id);
  else if (me.value === null) void (gone.peek() === 'ended' ? outbox.signedOut() : outbox.signedIn(null));
});
addEventListener('online', () => void outbox.flush());
// The last moment at which a phone lets a page do anything.
document.addEventListener('visibilitychange', () => document.hidden && void outbox.flush());
addEventListener('beforeunload', (event) => {
  // What lies in the browser's database is sent the next time; only what lies in the page would be lost.
  if (state.value.unsent > 0 && !state.value.lasting) event.preventDefault();
});
