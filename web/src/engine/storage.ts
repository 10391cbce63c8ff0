/** What outlives the page: one small database in the browser. null where there is none (private mode, policy). */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import type { Entry } from './outbox.ts';

export interface StoredEntry extends Entry {
  /** The order in which answers were given; no clock has a say in it. */
  readonly seq?: number;
  /** It may have reached the server. */
  readonly left: boolean;
}

export interface HeldRow {
  readonly user_id: string;
  readonly task_id: string;
  readonly batch_id: string;
  readonly place: number;
  readonly batch: unknown;
}

export interface SittingRow {
  readonly user_id: string;
  readonly task_id: string;
  readonly state: unknown;
}

interface Tables extends DBSchema {
  answers: { key: number; value: StoredEntry; indexes: { client_id: string; user_id: string } };
  held: { key: [string, string, string]; value: HeldRow };
  sittings: { key: [string, string]; value: SittingRow };
}

export type Database = IDBPDatabase<Tables>;

/** Some browsers never answer at all (old WebKit): the page does without, sooner than not begin. */
const OPEN_MS = 3_000;

export async function openStorage(name = 'comfylabel'): Promise<Database | null> {
  const patience = new Promise<null>((resolve) => setTimeout(resolve, OPEN_MS, null));
  return Promise.race([open(name), patience]);
}

async function open(name: string): Promise<Database | null> {
  try {
    return await openDB<Tables>(name, 1, {
      upgrade(database) {
        const answers = database.createObjectStore('answers', { keyPath: 'seq', autoIncrement: true });
        answers.createIndex('client_id', 'client_id', { unique: true });
        answers.createIndex('user_id', 'user_id');
        database.createObjectStore('held', { keyPath: ['user_id', 'task_id', 'batch_id'] });
        database.createObjectStore('sittings', { keyPath: ['user_id', 'task_id'] });
      },
      // A newer page in another tab wants to change the tables: do not stand in its way.
      blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
    });
  } catch {
    return null;
  }
}
