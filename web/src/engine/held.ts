/** The batches that a person holds in a task, kept in the browser: a reload without network goes on where it was. */
import type { Database, HeldRow } from './storage.ts';

export interface Held<B, S> {
  /** In the order in which they were served. */
  readonly batches: readonly B[];
  readonly state: S | null;
}

export interface HeldStore<B, S> {
  load(): Promise<Held<B, S>>;
  keep(batches: readonly B[]): Promise<void>;
  /** These and no others. */
  keepOnly(batches: readonly B[]): Promise<void>;
  forget(batchIds: readonly string[]): Promise<void>;
  clear(): Promise<void>;
  /** How things stood when the server last told. */
  saveState(state: S): Promise<void>;
}

export class HeldBatches<B extends { readonly batch_id: string }, S> implements HeldStore<B, S> {
  private readonly database: Promise<Database | null>;
  private readonly userId: string;
  private readonly taskId: string;
  /** What the rows hold, as far as this page has written them. */
  private readonly rows = new Map<string, B>();
  private last = 0;

  constructor(database: Promise<Database | null>, userId: string, taskId: string) {
    this.database = database;
    this.userId = userId;
    this.taskId = taskId;
  }

  async load(): Promise<Held<B, S>> {
    const rows = await this.quietly<HeldRow[]>((database) => database.getAll('held', this.range()), []);
    const key: [string, string] = [this.userId, this.taskId];
    const sitting = await this.quietly((database) => database.get('sittings', key), undefined);
    rows.sort((a, b) => a.place - b.place);
    this.last = rows.at(-1)?.place ?? 0;
    return { batches: rows.map((row) => row.batch as B), state: (sitting?.state as S | undefined) ?? null };
  }

  async keep(batches: readonly B[]): Promise<void> {
    const fresh = batches.filter((batch) => this.rows.get(batch.batch_id) !== batch);
    if (fresh.length === 0) return;
    for (const batch of fresh) this.rows.set(batch.batch_id, batch);
    await this.quietly(async (database) => {
      const { store, done } = database.transaction('held', 'readwrite');
      const puts = fresh.map((batch) => store.put(this.rowOf(batch)));
      await Promise.all([...puts, done]);
    }, undefined);
  }

  async keepOnly(batches: readonly B[]): Promise<void> {
    const stays = new Set(batches.map((batch) => batch.batch_id));
    const keys = await this.quietly((database) => database.getAllKeys('held', this.range()), []);
    await this.forget(keys.map(([, , batchId]) => batchId).filter((batchId) => !stays.has(batchId)));
    await this.keep(batches);
  }

  async forget(batchIds: readonly string[]): Promise<void> {
    if (batchIds.length === 0) return;
    for (const batchId of batchIds) this.rows.delete(batchId);
    await this.quietly(async (database) => {
      const { store, done } = database.transaction('held', 'readwrite');
      const deletes = batchIds.map((batchId) => store.delete([this.userId, this.taskId, batchId]));
      await Promise.all([...deletes, done]);
    }, undefined);
  }

  async clear(): Promise<void> {
    this.rows.clear();
    await this.quietly(async (database) => {
      await database.delete('held', this.range());
      await database.delete('sittings', [this.userId, this.taskId]);
    }, undefined);
  }

  async saveState(state: S): Promise<void> {
    const row = { user_id: this.userId, task_id: this.taskId, state };
    await this.quietly(async (database) => {
      await database.put('sittings', row);
    }, undefined);
  }

  private range(): IDBKeyRange {
    // Every string is less than an empty array.
    return IDBKeyRange.bound([this.userId, this.taskId], [this.userId, this.taskId, []]);
  }

  private rowOf(batch: B): HeldRow {
    this.last += 1;
    return { user_id: this.userId, task_id: this.taskId, batch_id: batch.batch_id, place: this.last, batch };
  }

  /** A convenience and never the truth: where the browser keeps nothing, nothing is kept. */
  private async quietly<T>(run: (database: Database) => Promise<T>, otherwise: T): Promise<T> {
    const database = await this.database;
    return database ? run(database).catch(() => otherwise) : otherwise;
  }
}

/** The tasks in which this person holds batches on this device. */
export async function tasksHeldBy(database: Database | null, userId: string): Promise<string[]> {
  const range = IDBKeyRange.bound([userId], [userId, []]);
  const keys = database ? await database.getAllKeys('held', range).catch(() => []) : [];
  return [...new Set(keys.map(([, taskId]) => taskId))];
}

/** On a shared device: what everybody but this person held is forgotten. Says whether there was any. */
export async function forgetOthers(database: Database | null, userId: string): Promise<boolean> {
  if (!database) return false;
  // A string is less than an array: the first key ends before this person's rows, the second begins behind them.
  const others = [IDBKeyRange.upperBound([userId], true), IDBKeyRange.lowerBound([userId, []])];
  let found = 0;
  for (const range of others) {
    found += await database.count('held', range);
    await database.delete('held', range);
    await database.delete('sittings', range);
  }
  return found > 0;
}
