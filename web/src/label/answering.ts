/** What a person answered in this sitting, the way back, and what goes to the server of it. */
import { batch as together, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { Entry, OutboxState } from '../engine/outbox.ts';
import type { Batch, Given, Refusal } from './types.ts';

/** The outbox as far as a sitting uses it. */
export interface Mail {
  readonly state: ReadonlySignal<OutboxState>;
  readonly refusals: Signal<readonly Refusal[]>;
  put(entry: Entry): Promise<void>;
  takeBack(clientId: string, undo: Entry): Promise<void>;
  flush(): Promise<void>;
  of(userId: string): Promise<readonly Entry[]>;
}

export interface Person {
  readonly id: string;
  readonly name: string;
}

/** 25 days: the server's column holds no more. */
const MOST_MS = 2 ** 31 - 1;

export class Answering {
  readonly answers = signal<ReadonlyMap<string, Given>>(new Map());
  /** The answers that undo takes back, the last one last. */
  readonly history = signal<readonly string[]>([]);
  private readonly taskId: string;
  private readonly person: Person;
  private readonly mail: Mail;
  /** Answered before this sitting began, and not known to the server yet. */
  private readonly before = new Set<string>();

  constructor(taskId: string, person: Person, mail: Mail) {
    this.taskId = taskId;
    this.person = person;
    this.mail = mail;
  }

  /** What waits here from before this sitting. */
  async learn(): Promise<void> {
    for (const { batch_id, body } of await this.waiting()) {
      if ('undo_of' in body) this.before.delete(batch_id);
      else this.before.add(batch_id);
    }
  }

  has(batchId: string): boolean {
    return this.answers.peek().has(batchId) || this.before.has(batchId);
  }

  of(batchId: string | undefined): Given | undefined {
    return this.answers.peek().get(batchId ?? '');
  }

  give(batch: Batch, given: Given, elapsed: number): void {
    const candidate = (place: number | null) => (place === null ? null : (batch.slot_order[place] ?? null));
    const body = {
      task_id: this.taskId,
      batch_id: batch.batch_id,
      user_id: this.person.id,
      client_id: given.client_id,
      kind: given.kind,
      chosen_index: candidate(given.chosen),
      rejected_index: candidate(given.rejected),
      spam: given.kind === 'spam',
      slot_order: batch.slot_order,
      elapsed_ms: Math.min(MOST_MS, Math.max(0, Math.round(elapsed))),
    };
    void this.mail.put(this.entry(batch.batch_id, body));
    together(() => {
      this.answers.value = new Map(this.answers.value).set(batch.batch_id, given);
      this.history.value = [...this.history.value.filter((one) => one !== batch.batch_id), batch.batch_id];
    });
  }

  /** The batch whose answer is taken back; null: there is none. */
  undo(clientId: string): string | null {
    const batchId = this.history.value.at(-1);
    const given = this.of(batchId);
    if (batchId === undefined || !given) return null;
    const body = { undo_of: given.client_id, client_id: clientId, user_id: this.person.id };
    void this.mail.takeBack(given.client_id, this.entry(batchId, body));
    this.forget(batchId);
    return batchId;
  }

  /** What the server refused is no answer: its batch comes again, for another one. */
  refused(refusals: readonly Refusal[]): void {
    for (const { batch_id, client_id } of refusals)
      if (batch_id !== null && this.of(batch_id)?.client_id === client_id) this.forget(batch_id);
  }

  /** By how many the server's count of this person's answers will grow. */
  async unsent(): Promise<number> {
    return (await this.waiting()).reduce((sum, entry) => sum + ('undo_of' in entry.body ? -1 : 1), 0);
  }

  private forget(batchId: string): void {
    const answers = new Map(this.answers.peek());
    answers.delete(batchId);
    this.before.delete(batchId);
    together(() => {
      this.answers.value = answers;
      this.history.value = this.history.peek().filter((one) => one !== batchId);
    });
  }

  private entry(batchId: string, body: { client_id: string }): Entry {
    const { id, name } = this.person;
    const { client_id } = body;
    return { user_id: id, user_name: name, task_id: this.taskId, batch_id: batchId, client_id, body };
  }

  private async waiting(): Promise<readonly Entry[]> {
    const all = await this.mail.of(this.person.id);
    return all.filter((entry) => entry.task_id === this.taskId);
  }
}
