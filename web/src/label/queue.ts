/** The batches of a sitting in the order in which they are shown, and the one that is shown. */
import { batch as together, computed, signal } from '@preact/signals';
import type { Batch } from './types.ts';

/** Batches with an answer stay here for the way back; further back only their ids are kept. */
const BEHIND = 100;
const SPARE = 20;

export class Queue {
  readonly batches = signal<readonly Batch[]>([]);
  readonly at = signal(0);
  /** How many were let go at the front. */
  readonly before = signal(0);
  readonly current = computed(() => this.batches.value[this.at.value]);
  private readonly isAnswered: (batchId: string) => boolean;

  constructor(isAnswered: (batchId: string) => boolean) {
    this.isAnswered = isAnswered;
  }

  /** Those ahead first, nearest first; then those that were passed over. */
  unanswered(): Batch[] {
    const all = this.batches.value;
    const at = this.at.value;
    return [...all.slice(at), ...all.slice(0, at)].filter((one) => !this.isAnswered(one.batch_id));
  }

  has(batchId: string): boolean {
    return this.batches.value.some((one) => one.batch_id === batchId);
  }

  /** What is new of it, at the end. */
  add(items: readonly Batch[]): void {
    const fresh = items.filter((one) => !this.isAnswered(one.batch_id) && !this.has(one.batch_id));
    if (fresh.length > 0) this.batches.value = [...this.batches.value, ...fresh];
  }

  /** Calmly: what is shown stays the same unless it is among them. */
  drop(batchIds: ReadonlySet<string>): void {
    const isGone = (one: Batch) => batchIds.has(one.batch_id) && !this.isAnswered(one.batch_id);
    const gone = this.batches.value.filter(isGone);
    if (gone.length === 0) return;
    const goneBefore = this.batches.value.slice(0, this.at.value).filter(isGone).length;
    together(() => {
      this.batches.value = this.batches.value.filter((one) => !isGone(one));
      this.at.value -= goneBefore;
      if (!this.current.value) this.advance(this.at.value);
    });
  }

  replace(fresh: Batch): void {
    this.batches.value = this.batches.value.map((one) => (one.batch_id === fresh.batch_id ? fresh : one));
  }

  /** One that was let go comes back, as the one that is shown. */
  bringBack(batch: Batch): void {
    if (this.has(batch.batch_id)) return this.moveTo(batch.batch_id);
    together(() => {
      this.batches.value = [batch, ...this.batches.value];
      this.before.value = Math.max(0, this.before.value - 1);
      this.at.value = 0;
    });
  }

  moveTo(batchId: string): void {
    const index = this.batches.value.findIndex((one) => one.batch_id === batchId);
    if (index >= 0) this.at.value = index;
  }

  /** To the first one without an answer from there on, or before; else beyond the end. */
  advance(from: number): void {
    const all = this.batches.value;
    const isOpen = (one: Batch) => !this.isAnswered(one.batch_id);
    const ahead = all.findIndex((one, index) => index >= from && isOpen(one));
    const any = ahead >= 0 ? ahead : all.findIndex(isOpen);
    together(() => {
      this.at.value = any >= 0 ? any : all.length;
      this.letGo();
    });
  }

  private letGo(): void {
    const at = this.at.value;
    if (at <= BEHIND + SPARE) return;
    const open = this.batches.value.findIndex((one) => !this.isAnswered(one.batch_id));
    const away = Math.min(at - BEHIND, open < 0 ? at : open);
    this.batches.value = this.batches.value.slice(away);
    this.at.value = at - away;
    this.before.value += away;
  }
}
