/** The outbox of this device. One for as long as the page is open: answers that wait outlive the visit to one task. */
import { effect, signal } from '@preact/signals';
import type { Outbox, OutboxState, Waiting } from '../engine/outbox.ts';
import { askWho, gone, me } from '../session.ts';
import type { Mail } from './answering.ts';
import type { Refusal } from './types.ts';

type Mailroom = typeof import('./mailroom.ts');

const AGAIN_MS = 1_000;

/** Asked for until it comes: what is to be stored waits for it. */
export const mailroom: Promise<Mailroom> = (async () => {
  for (;;) {
    try {
      return await import('./mailroom.ts');
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
})();

const state = signal<OutboxState>({ unsent: 0, held: null, lasting: true });
const refusals = signal<readonly Refusal[]>([]);
const outbox: Promise<Outbox> = mailroom.then(({ openOutbox }) => openOutbox(state, refusals));

export const mail: Mail & { counts(): Promise<Waiting[]> } = {
  state,
  refusals,
  // One after the other, in the order of the calls.
  put: async (entry) => (await outbox).put(entry),
  takeBack: async (clientId, undo) => (await outbox).takeBack(clientId, undo),
  flush: async () => (await outbox).flush(),
  of: async (userId) => (await outbox).of(userId),
  counts: async () => (await outbox).counts(),
};

effect(() => {
  const userId = me.value === null && gone.peek() === 'ended' ? undefined : (me.value?.id ?? null);
  if (me.value === undefined) return;
  void outbox.then((box) => (userId === undefined ? box.signedOut() : box.signedIn(userId)));
  if (userId) void mailroom.then((room) => room.forgetWhatOthersHeld(userId));
});
effect(() => {
  if (state.value.held === 'someone else') void askWho();
});
addEventListener('online', () => void mail.flush());
// The last moment at which a phone lets a page do anything.
document.addEventListener('visibilitychange', () => document.hidden && void mail.flush());
addEventListener('beforeunload', (event) => {
  // What lies in the browser's database is sent the next time; only what lies in the page would be lost.
  if (state.value.unsent > 0 && !state.value.lasting) event.preventDefault();
});
