/** What the tests of the engine and of a sitting share: a clock wound by hand, a server of batches, waiting. */
import { signal } from '@preact/signals';
import 'fake-indexeddb/auto';
import { AnswersAnyway } from '../src/engine/answers.ts';
import { HeldBatches } from '../src/engine/held.ts';
import { Outbox, type Outcome, type OutboxState, type OutboxWorld, type Result } from '../src/engine/outbox.ts';
import { type Database, openStorage } from '../src/engine/storage.ts';
import type { Mail } from '../src/label/answering.ts';
import { LabelSession, type World } from '../src/label/session.ts';
import type { HeldState, Next, Standing } from '../src/label/supply.ts';
import type { Batch, Refusal } from '../src/label/types.ts';

/** Until it holds; the runner's time limit ends what never does. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(setImmediate);
}

/** Lets everything that is under way come to rest. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await new Promise(setImmediate);
}

export class Clock {
  now = 10_000;
  private alarms: { at: number; run: () => void }[] = [];

  readonly later = (run: () => void, ms: number): (() => void) => {
    const alarm = { at: this.now + ms, run };
    this.alarms.push(alarm);
    return () => {
      this.alarms = this.alarms.filter((one) => one !== alarm);
    };
  };

  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      const [next] = this.alarms.filter((one) => one.at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.alarms = this.alarms.filter((one) => one !== next);
      this.now = Math.max(this.now, next.at);
      next.run();
      await settle();
    }
    this.now = end;
    await settle();
  }
}

export class HttpError extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`status ${status}`);
    this.status = status;
  }
}

export interface Sent {
  readonly client_id: string;
  readonly user_id: string;
  readonly batch_id?: string;
  readonly undo_of?: string;
  readonly kind?: string;
  readonly chosen_index?: number | null;
  readonly rejected_index?: number | null;
  readonly spam?: boolean;
  readonly slot_order?: readonly number[];
  readonly elapsed_ms?: number;
}

export function batch(number: number, images = 4, round = 0): Batch {
  const each = (size: string) => Array.from({ length: images }, (_, i) => `${size}-${number}-${i}?${round}`);
  return {
    batch_id: `b${number}`,
    prompt: `prompt ${number}`,
    seeds: [],
    batch_indexes: [],
    sizes: Array.from({ length: images }, () => [1024, 1024]),
    thumbnails: each('thumbnails'),
    tiles: each('tiles'),
    previews: each('previews'),
    fullres: each('fullres'),
    generation_ids: [],
    // Place i holds candidate images - 1 - i.
    slot_order: Array.from({ length: images }, (_, i) => images - 1 - i),
  };
}

/** One task of a server that leases, stores and forgets nothing. `cookie`: who is signed in. */
export class TaskServer {
  readonly answers = new Map<string, Sent>();
  readonly lists: Sent[][] = [];
  readonly asked: { have: readonly string[]; count: number; offline: boolean }[] = [];
  readonly released: string[] = [];
  readonly leased = new Set<string>();
  /** Leased to or answered by others. */
  readonly others = new Set<string>();
  cookie = 'ann';
  ready: number;
  batches: number;
  hold = 20;
  away = false;
  status = 0;
  round = 0;
  images = 4;
  /** A request that waits for this to be called, where it is set. */
  gate: Promise<void> | null = null;

  constructor(ready: number, batches = ready) {
    this.ready = ready;
    this.batches = batches;
  }

  private async answer(): Promise<void> {
    await this.gate;
    if (this.away) throw new HttpError(0);
    if (this.status) throw new HttpError(this.status);
  }

  get done(): Set<string> {
    return new Set([...this.answers.values()].map((one) => one.batch_id as string));
  }

  async next(have: readonly string[], count: number, offline: boolean): Promise<Next> {
    this.asked.push({ have, count, offline });
    await this.answer();
    const done = this.done;
    const most = Math.min(count, offline ? 200 : this.hold);
    const all = Array.from({ length: this.ready }, (_, i) => `b${i}`);
    const free = all.filter((id) => !done.has(id) && !this.others.has(id));
    const mine = [
      ...have.filter((id) => free.includes(id)),
      ...free.filter((id) => this.leased.has(id) && !have.includes(id)),
      ...free.filter((id) => !this.leased.has(id) && !have.includes(id)),
    ].slice(0, most);
    this.leased.clear();
    for (const id of mine) this.leased.add(id);
    const state = mine.length > 0 ? 'work' : this.ready < this.batches || this.others.size > 0 ? 'wait' : 'finished';
    return {
      items: mine.filter((id) => !have.includes(id)).map((id) => this.item(id)),
      dropped: have.filter((id) => !mine.includes(id)),
      done_by_me: done.size,
      hold: this.hold,
      state,
      retry_after: state === 'wait' ? 5 : null,
      variant: null,
    };
  }

  async batch(batchId: string): Promise<Batch> {
    await this.answer();
    this.round += 1;
    return this.item(batchId);
  }

  async release(batchIds: readonly string[]): Promise<void> {
    await this.answer();
    for (const id of batchIds) this.leased.delete(id);
    this.released.push(...batchIds);
  }

  async standing(): Promise<Standing> {
    await this.answer();
    return { title: 'A task', total: this.batches, blind: false, coming: this.batches - this.ready };
  }

  readonly post = async (bodies: readonly object[]): Promise<Outcome> => {
    this.lists.push(bodies as Sent[]);
    await this.gate;
    if (this.away) return 'later';
    if (this.status === 401) return 'signed out';
    if (this.status) return this.status >= 500 ? 'later' : { refused: `status ${this.status}` };
    return (bodies as Sent[]).map((one) => this.store(one));
  };

  private store(one: Sent): Result {
    const { client_id } = one;
    if (one.user_id !== this.cookie) return { client_id, status: 'refused', code: 'other_user', error: 'Not yours.' };
    if (one.undo_of !== undefined) return this.undo(one);
    if (this.answers.has(client_id)) return { client_id, status: 'repeated' };
    if ((one.chosen_index ?? 0) >= this.images)
      return { client_id, status: 'refused', code: 'index_out_of_range', error: 'This batch has 4 images.' };
    this.answers.set(client_id, one);
    return { client_id, status: 'stored' };
  }

  private undo({ client_id, undo_of = '' }: Sent): Result {
    if (!this.answers.delete(undo_of)) return { client_id, status: 'refused', code: 'nothing_to_undo', error: 'No.' };
    return { client_id, status: 'stored' };
  }

  private item(id: string): Batch {
    return batch(Number(id.slice(1)), this.images, this.round);
  }
}

/** A browser: its database, its network, its clock. Several pages may be open in it. */
export class Browser {
  readonly clock = new Clock();
  readonly server: TaskServer;
  readonly database: Promise<Database | null>;
  onLine = true;
  private ids = 0;
  private lock = false;
  hasLocks = true;

  constructor(server: TaskServer, database: Promise<Database | null> = openStorage(`db ${names++}`)) {
    this.server = server;
    this.database = database;
  }

  page(userId = 'ann', world: Partial<World> = {}): Page {
    return new Page(this, userId, world);
  }

  readonly newId = (): string => `id-${this.ids++}`;

  readonly outboxWorld: OutboxWorld = {
    later: this.clock.later,
    onLine: () => this.onLine,
    alone: async (run) => {
      if (!this.hasLocks) return run().then(() => true);
      if (this.lock) return false;
      this.lock = true;
      await run().finally(() => (this.lock = false));
      return true;
    },
  };

  goOffline(): void {
    this.onLine = false;
    this.server.away = true;
  }

  goOnline(): void {
    this.onLine = true;
    this.server.away = false;
  }
}

let names = 0;

/** One page with a sitting in it, wired as open.ts does. */
export class Page {
  readonly browser: Browser;
  readonly session: LabelSession;
  readonly outbox: Outbox;
  readonly state = signal<OutboxState>({ unsent: 0, held: null, lasting: true });
  readonly refusals = signal<readonly Refusal[]>([]);
  readonly fetched: string[] = [];
  readonly broken = new Set<string>();

  constructor(browser: Browser, userId: string, world: Partial<World>) {
    this.browser = browser;
    const { server, clock } = browser;
    this.outbox = new Outbox(new AnswersAnyway(browser.database), server.post, browser.outboxWorld, {
      onState: (state) => (this.state.value = state),
      onRefused: ({ client_id, batch_id }, words) => {
        this.refusals.value = [...this.refusals.value, { client_id, batch_id, words }];
      },
    });
    const { outbox, state, refusals } = this;
    const mail: Mail = {
      state,
      refusals,
      put: (entry) => outbox.put(entry),
      takeBack: (clientId, undo) => outbox.takeBack(clientId, undo),
      flush: () => outbox.flush(),
      of: (user) => outbox.of(user),
    };
    this.session = new LabelSession('task', {
      server,
      mail,
      held: new HeldBatches<Batch, HeldState>(browser.database, userId, 'task'),
      keeping: null,
      person: { id: userId, name: userId },
      beginning: null,
      loadPicture: async (url) => {
        this.fetched.push(url);
        if (this.broken.has(url)) throw new Error('403');
      },
      newId: browser.newId,
      now: () => clock.now,
      later: clock.later,
      onLine: () => browser.onLine,
      saveData: () => false,
      afterPaint: (run) => run(),
      ...world,
    });
    void this.outbox.signedIn(userId);
  }

  async open(): Promise<this> {
    await this.session.load();
    await settle();
    return this;
  }

  get shown(): string | undefined {
    return this.session.current.value?.batch_id;
  }

  /** A second later, as a person does. */
  async say(act: (session: LabelSession) => void): Promise<void> {
    await this.browser.clock.pass(1_000);
    act(this.session);
    await settle();
  }

  close(): void {
    this.session.close();
    void this.outbox.signedIn(null);
  }
}
