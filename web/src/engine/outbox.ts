/**
 * Answers wait here until the server has them: stored first, sent in lists, kept through reloads and dead networks.
 * Everybody who signs in on this device shares it, and only the answers of who is signed in are sent. No framework.
 */

export interface Entry {
  readonly user_id: string;
  /** For whoever else finds it here. */
  readonly user_name: string;
  readonly task_id: string;
  readonly batch_id: string;
  /** The server stores an answer once, however often it is sent. */
  readonly client_id: string;
  /** What is sent. */
  readonly body: object;
}

export interface AnswerStore {
  /** Entries outlive the page. */
  readonly lasting: boolean;
  add(entry: Entry): Promise<void>;
  /** Forget an entry that has not left; else let the undo follow it. */
  takeBack(clientId: string, undo: Entry): Promise<void>;
  /** The next ones in the order in which they were given; from now on they count as having left. */
  take(userId: string, most: number): Promise<Entry[]>;
  drop(clientIds: readonly string[]): Promise<void>;
  of(userId: string): Promise<Entry[]>;
  count(userId: string): Promise<number>;
  all(): Promise<Entry[]>;
}

/** How many answers wait here for this person to sign in. */
export interface Waiting {
  readonly user_id: string;
  readonly name: string;
  readonly count: number;
}

export interface Result {
  readonly client_id: string | null;
  readonly status: 'stored' | 'repeated' | 'refused';
  readonly code?: string | null;
  readonly error?: string | null;
}

/** later: try again. signed out: try again after a sign-in. Else what became of each, or why the list was refused. */
export type Outcome = 'later' | 'signed out' | { readonly refused: string } | readonly Result[];
export type Post = (bodies: readonly object[]) => Promise<Outcome>;

export interface OutboxState {
  /** Of the person who is signed in. */
  readonly unsent: number;
  /** What is in the way, where something is. someone else: another person has signed in on this device meanwhile. */
  readonly held: 'later' | 'signed out' | 'someone else' | null;
  readonly lasting: boolean;
}

export interface OutboxWorld {
  later(run: () => void, ms: number): () => void;
  /** Runs it unless another tab is sending; says whether it ran. */
  alone(run: () => Promise<void>): Promise<boolean>;
  /** False only where there is no network for certain. */
  onLine(): boolean;
}

export interface OutboxListener {
  onState(state: OutboxState): void;
  onRefused(entry: Entry, words: string): void;
}

export const LIST = 50;
/** An undo within it costs no request, and quick answers travel together. */
export const GATHER_MS = 400;
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

export class Outbox {
  private readonly store: AnswerStore;
  private readonly post: Post;
  private readonly world: OutboxWorld;
  private readonly listener: OutboxListener;
  private userId: string | null = null;
  private held: OutboxState['held'] = null;
  private wait = FIRST_WAIT;
  private most = LIST;
  private cancel: (() => void) | null = null;
  private sending: Promise<void> | null = null;
  private again = false;

  constructor(store: AnswerStore, post: Post, world: OutboxWorld, listener: OutboxListener) {
    this.store = store;
    this.post = post;
    this.world = world;
    this.listener = listener;
  }

  /** Whose answers are sent from now on; null: nobody's. */
  async signedIn(userId: string | null): Promise<void> {
    this.userId = userId;
    this.held = null;
    this.wait = FIRST_WAIT;
    await this.tell();
    await this.flush();
  }

  /** Their session has ended: answers are kept and counted, and wait. */
  async signedOut(): Promise<void> {
    this.unschedule();
    this.held = 'signed out';
    await this.tell();
  }

  async put(entry: Entry): Promise<void> {
    await this.store.add(entry);
    this.gather();
    await this.tell();
  }

  async takeBack(clientId: string, undo: Entry): Promise<void> {
    await this.store.takeBack(clientId, undo);
    this.gather();
    await this.tell();
  }

  of(userId: string): Promise<Entry[]> {
    return this.store.of(userId);
  }

  async counts(): Promise<Waiting[]> {
    const found = new Map<string, Waiting>();
    for (const { user_id, user_name } of await this.store.all()) {
      const count = (found.get(user_id)?.count ?? 0) + 1;
      found.set(user_id, { user_id, name: user_name, count });
    }
    return [...found.values()];
  }

  /** Send now, whatever the wait: the network is back, or the page is about to go. Ends when nothing more can be done. */
  flush(): Promise<void> {
    this.unschedule();
    // The round under way may have looked already: what came since needs another.
    if (this.sending) this.again = true;
    this.sending ??= this.send().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  private gather(): void {
    // While a wait is running the new one queues up behind it: a server that is down is not hammered.
    if (this.cancel === null && (this.held === null || this.held === 'later')) this.schedule(GATHER_MS);
  }

  private schedule(ms: number): void {
    this.unschedule();
    this.cancel = this.world.later(() => {
      this.cancel = null;
      void this.flush();
    }, ms);
  }

  private unschedule(): void {
    this.cancel?.();
    this.cancel = null;
  }

  private async send(): Promise<void> {
    do {
      this.again = false;
      const ran = await this.world.alone(() => this.drain());
      // Another tab is at it: what it leaves is ours.
      if (!ran) this.schedule(FIRST_WAIT);
      await this.tell();
    } while (this.again);
  }

  private async drain(): Promise<void> {
    for (let userId = this.userId; userId !== null; userId = this.userId) {
      if (!this.world.onLine()) return this.waitForNetwork(userId);
      const entries = await this.store.take(userId, this.most);
      if (entries.length === 0) {
        this.most = LIST;
        this.held = null;
        return;
      }
      if (!(await this.sendOne(entries))) return;
      await this.tell();
    }
  }

  /** Says whether it makes sense to go on at once. */
  private async sendOne(entries: readonly Entry[]): Promise<boolean> {
    const outcome = await this.post(entries.map((entry) => entry.body));
    if (outcome === 'signed out') return this.hold('signed out');
    if (outcome === 'later') return this.tryLater();
    if ('refused' in outcome) return this.refusedWhole(entries, outcome.refused);
    return this.settle(entries, outcome);
  }

  private async settle(entries: readonly Entry[], results: readonly Result[]): Promise<boolean> {
    const byId = new Map(results.map((result) => [result.client_id, result]));
    const over = entries.filter((entry) => {
      const result = byId.get(entry.client_id);
      return result && result.code !== 'other_user';
    });
    await this.store.drop(over.map((entry) => entry.client_id));
    for (const entry of over) this.tellRefusal(entry, byId.get(entry.client_id) as Result);
    // Somebody else signed in on this device, in another tab: theirs waits for them.
    if (results.some((result) => result.code === 'other_user')) return this.hold('someone else');
    if (over.length === 0) return this.tryLater();
    this.held = null;
    this.wait = FIRST_WAIT;
    return true;
  }

  private tellRefusal(entry: Entry, result: Result): void {
    // What an undo wanted gone is gone.
    if (result.status === 'refused' && result.code !== 'nothing_to_undo')
      this.listener.onRefused(entry, result.error ?? 'The server gave no reason.');
  }

  /** One of them spoils the list: each goes alone, and the one is told. */
  private async refusedWhole(entries: readonly Entry[], words: string): Promise<boolean> {
    const [first] = entries;
    if (entries.length > 1 || !first) {
      this.most = 1;
      return true;
    }
    await this.store.drop([first.client_id]);
    this.listener.onRefused(first, words);
    return true;
  }

  private hold(why: OutboxState['held']): false {
    this.held = why;
    return false;
  }

  private tryLater(): false {
    this.schedule(this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    return this.hold('later');
  }

  private async waitForNetwork(userId: string): Promise<void> {
    if ((await this.store.count(userId)) > 0) this.tryLater();
  }

  private async tell(): Promise<void> {
    const unsent = this.userId === null ? 0 : await this.store.count(this.userId);
    const held = unsent > 0 || this.held !== 'later' ? this.held : null;
    this.listener.onState({ unsent, held, lasting: this.store.lasting });
  }
}
