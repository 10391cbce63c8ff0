/** A sitting in a browser: wires the parts that know no browser to clocks, storage, network and the page's life. */
import { effect } from '@preact/signals';
import type { HeldStore } from '../engine/held.ts';
import { loadPicture, type Size } from '../engine/prefetch.ts';
import { takeFirst } from '../first.ts';
import { me } from '../session.ts';
import { mail, mailroom } from './mail.ts';
import { serverFor, standingOf } from './server.ts';
import { LabelSession } from './session.ts';
import type { Beginning, HeldState } from './supply.ts';
import type { Batch, Sitting } from './types.ts';

export interface OpenSitting {
  readonly sitting: Sitting;
  /** Stops timers and listeners; gives nothing back (that is `sitting.leave`). */
  close(): void;
}

export function openSitting(taskId: string, userId: string): OpenSitting {
  const session = new LabelSession(taskId, {
    server: serverFor(taskId),
    mail,
    held: heldFor(userId, taskId),
    keeping: canKeep() ? async (state) => (await import('./device.ts')).openKeeping(state) : null,
    person: { id: userId, name: me.value?.name ?? '' },
    beginning: beginningOf(taskId, userId),
    loadPicture,
    newId,
    now: () => performance.now(),
    later(run, ms) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    onLine: () => navigator.onLine,
    saveData: () => connection()?.saveData ?? false,
    afterPaint: (run) => requestAnimationFrame(() => setTimeout(run)),
  });
  const stops = [attend(session), rememberSize(session)];
  return {
    sitting: session,
    close() {
      for (const stop of stops) stop();
      session.close();
    },
  };
}

function beginningOf(taskId: string, userId: string): Beginning | null {
  const first = takeFirst();
  if (first?.task.task_id !== taskId || first.me.id !== userId) return null;
  return { next: first.next, standing: standingOf(first.task) };
}

function heldFor(userId: string, taskId: string): HeldStore<Batch, HeldState> {
  const held = mailroom.then(({ openHeld }) => openHeld(userId, taskId));
  return {
    load: async () => (await held).load(),
    keep: async (batches) => (await held).keep(batches),
    keepOnly: async (batches) => (await held).keepOnly(batches),
    forget: async (batchIds) => (await held).forget(batchIds),
    clear: async () => (await held).clear(),
    saveState: async (state) => (await held).saveState(state),
  };
}

/** Only where there is a service worker to show what is kept: not on plain http. */
function canKeep(): boolean {
  return 'caches' in globalThis && 'serviceWorker' in navigator;
}

/** Tells the sitting whether somebody looks at it, and when there is a network again. */
function attend(session: LabelSession): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  document.addEventListener('visibilitychange', () => session.attend(!document.hidden), { signal });
  addEventListener('online', () => void session.load(), { signal });
  return () => stop.abort();
}

const COOKIE: Partial<Record<Size, string>> = { thumbnails: 'thumbnail', tiles: 'tile', previews: 'preview' };
const YEAR_SECONDS = 365 * 24 * 3600;

/** The server puts the pictures of the first batch into the page's head, in the size that this screen shows. */
function rememberSize(session: LabelSession): () => void {
  return effect(() => {
    const size = COOKIE[session.size.value];
    if (size) document.cookie = `tile=${size}; path=/label; max-age=${YEAR_SECONDS}; SameSite=Lax`;
  });
}

function connection(): { readonly saveData?: boolean } | undefined {
  return (navigator as { connection?: { saveData?: boolean } }).connection;
}

/** randomUUID exists on https and localhost only; a server in the local network is neither. */
function newId(): string {
  if ('randomUUID' in crypto) return crypto.randomUUID();
  const bytes = (crypto as Crypto).getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
