/** Where answers wait: in the browser's database, in memory where there is none, or where it takes no more. */
import type { AnswerStore, Entry } from './outbox.ts';
import type { Database, StoredEntry } from './storage.ts';

export class StoredAnswers implements AnswerStore {
  readonly lasting = true;
  private readonly database: Database;
  /** What a full disk could not be told, by client_id, for as long as this page is open. */
  private readonly left = new Set<string>();
  private readonly over = new Set<string>();

  constructor(database: Database) {
    this.database = database;
  }

  async add(entry: Entry): Promise<void> {
    const { store, done } = this.database.transaction('answers', 'readwrite');
    if ((await store.index('client_id').getKey(entry.client_id)) === undefined)
      await store.add({ ...entry, left: false });
    await done;
  }

  /** One transaction: an answer that is given after this call stands behind the undo, however fast it comes. */
  async takeBack(clientId: string, undo: Entry): Promise<void> {
    const { store, done } = this.database.transaction('answers', 'readwrite');
    const waiting = await store.index('client_id').get(clientId);
    const hasLeft = waiting?.left || this.left.has(clientId);
    if (waiting?.seq !== undefined && !hasLeft) await store.delete(waiting.seq);
    else await store.add({ ...undo, left: false });
    await done;
  }

  async take(userId: string, most: number): Promise<Entry[]> {
    const { store, done } = this.database.transaction('answers', 'readwrite');
    const found = await store.index('user_id').getAll(userId, most + this.over.size);
    const entries = this.standing(found).slice(0, most);
    const mark = async (entry: StoredEntry) => {
      if (!entry.left) await store.put({ ...entry, left: true });
    };
    // They leave all the same: answers that cannot be sent make no room either.
    await Promise.all([...entries.map(mark), done]).catch(() => {
      for (const { client_id } of entries) this.left.add(client_id);
    });
    return entries;
  }

  async drop(clientIds: readonly string[]): Promise<void> {
    const { store, done } = this.database.transaction('answers', 'readwrite');
    const forget = async (clientId: string) => {
      const seq = await store.index('client_id').getKey(clientId);
      if (seq !== undefined) await store.delete(seq);
    };
    // Else they would be sent again and again.
    await Promise.all([...clientIds.map(forget), done]).catch(() => {
      for (const clientId of clientIds) this.over.add(clientId);
    });
  }

  async of(userId: string): Promise<Entry[]> {
    return this.standing(await this.database.getAllFromIndex('answers', 'user_id', userId));
  }

  async count(userId: string): Promise<number> {
    if (this.over.size > 0) return (await this.of(userId)).length;
    return this.database.countFromIndex('answers', 'user_id', userId);
  }

  async all(): Promise<Entry[]> {
    return this.standing(await this.database.getAll('answers'));
  }

  private standing(entries: StoredEntry[]): StoredEntry[] {
    return entries.filter((entry) => !this.over.has(entry.client_id));
  }
}

export class AnswersInMemory implements AnswerStore {
  readonly lasting = false;
  private entries: StoredEntry[] = [];

  async add(entry: Entry): Promise<void> {
    if (!this.entries.some((one) => one.client_id === entry.client_id)) this.entries.push({ ...entry, left: false });
  }

  async takeBack(clientId: string, undo: Entry): Promise<void> {
    const waiting = this.entries.find((one) => one.client_id === clientId);
    if (waiting && !waiting.left) await this.drop([clientId]);
    else await this.add(undo);
  }

  async take(userId: string, most: number): Promise<Entry[]> {
    const taken = (await this.of(userId)).slice(0, most);
    this.entries = this.entries.map((one) => (taken.includes(one) ? { ...one, left: true } : one));
    return taken;
  }

  async drop(clientIds: readonly string[]): Promise<void> {
    this.entries = this.entries.filter((one) => !clientIds.includes(one.client_id));
  }

  async of(userId: string): Promise<Entry[]> {
    return this.entries.filter((one) => one.user_id === userId);
  }

  async count(userId: string): Promise<number> {
    return (await this.of(userId)).length;
  }

  async all(): Promise<Entry[]> {
    return this.entries;
  }
}

/** The database for as long as it takes answers; memory from the first that it does not take (a full disk). */
export class AnswersAnyway implements AnswerStore {
  private first: Promise<AnswerStore | null>;
  private readonly reopen: () => Promise<Database | null>;
  private readonly spare = new AnswersInMemory();
  private failed = false;

  /** `reopen`: phones close the database of a page that sleeps. */
  constructor(database: Promise<Database | null>, reopen: () => Promise<Database | null> = async () => null) {
    this.reopen = reopen;
    this.first = this.use(database);
  }

  get lasting(): boolean {
    return !this.failed;
  }

  add(entry: Entry): Promise<void> {
    return this.write((store) => store.add(entry));
  }

  takeBack(clientId: string, undo: Entry): Promise<void> {
    return this.write((store) => store.takeBack(clientId, undo));
  }

  async take(userId: string, most: number): Promise<Entry[]> {
    const stored = await this.read((store) => store.take(userId, most), []);
    return stored.length > 0 ? stored : this.spare.take(userId, most);
  }

  async drop(clientIds: readonly string[]): Promise<void> {
    await this.spare.drop(clientIds);
    await this.read((store) => store.drop(clientIds), undefined);
  }

  async of(userId: string): Promise<Entry[]> {
    return [...(await this.read((store) => store.of(userId), [])), ...(await this.spare.of(userId))];
  }

  async count(userId: string): Promise<number> {
    return (await this.read((store) => store.count(userId), 0)) + (await this.spare.count(userId));
  }

  async all(): Promise<Entry[]> {
    return [...(await this.read((store) => store.all(), [])), ...(await this.spare.all())];
  }

  private async use(database: Promise<Database | null>): Promise<AnswerStore | null> {
    const found = await database;
    this.failed = found === null;
    return found && new StoredAnswers(found);
  }

  /** Begins as soon as a reading does: what is asked after this call finds what it wrote. */
  private async write(run: (store: AnswerStore) => Promise<void>): Promise<void> {
    if (this.failed) return run(this.spare);
    try {
      await this.ask(run);
    } catch {
      this.failed = true;
      await run(this.spare);
    }
  }

  private async read<T>(run: (store: AnswerStore) => Promise<T>, nothing: T): Promise<T> {
    return this.ask(run).catch(() => nothing);
  }

  /** Asks a second time where the database was closed meanwhile and opens again. */
  private async ask<T>(run: (store: AnswerStore) => Promise<T>): Promise<T> {
    const asked = this.first;
    const store = await asked;
    if (!store) throw new Error('no database');
    try {
      return await run(store);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'InvalidStateError')) throw error;
      // Several may find it closed at the same time.
      if (this.first === asked) this.first = this.use(this.reopen());
      const opened = await this.first;
      if (!opened) throw error;
      return run(opened);
    }
  }
}
