/** Keeps the pictures of everything that is held on this device, and tells how far it is. */
import type { Signal } from '@preact/signals';
import type { PictureStore } from '../engine/kept.ts';
import type { Size } from '../engine/prefetch.ts';
import type { Batch, Offline } from './types.ts';

/** What is kept of every picture; it stands for the other sizes too. */
const SIZES = ['thumbnails', 'previews'] as const;
/** An average of so many says what all will take. */
const ENOUGH = 3;

export class Keeping {
  private readonly store: PictureStore;
  private readonly state: Signal<Offline>;
  /** Batches whose pictures all lie here, and their bytes. */
  private readonly ready: Map<string, number>;
  private wanted: readonly Batch[] = [];
  private running: Promise<void> | null = null;

  private constructor(store: PictureStore, state: Signal<Offline>, ready: ReadonlyMap<string, number>) {
    this.store = store;
    this.state = state;
    this.ready = new Map(ready);
  }

  static async open(store: PictureStore, state: Signal<Offline>): Promise<Keeping> {
    return new Keeping(store, state, await store.list());
  }

  address(batchId: string, candidate: number, size: Size): string | null {
    if (size === 'fullres' || !this.ready.has(batchId) || !this.store.isServed()) return null;
    return this.store.address(batchId, candidate, size === 'thumbnails' ? 'thumbnails' : 'previews');
  }

  /** These, and no others, in this order. */
  keep(batches: readonly Batch[]): void {
    this.wanted = batches;
    this.tell(null);
    this.running ??= this.run().finally(() => {
      this.running = null;
    });
  }

  async clear(): Promise<void> {
    this.wanted = [];
    this.ready.clear();
    await this.running;
    await this.store.clear();
  }

  private async run(): Promise<void> {
    await this.dropOthers();
    for (let batch = this.missing(); batch; batch = this.missing()) {
      const outcome = await this.keepOne(batch);
      if (typeof outcome === 'string') return this.tell(outcome);
      if (this.wanted.includes(batch)) this.ready.set(batch.batch_id, outcome);
      this.tell(null);
    }
  }

  private missing(): Batch | undefined {
    return this.wanted.find((batch) => !this.ready.has(batch.batch_id));
  }

  private async dropOthers(): Promise<void> {
    const wanted = new Set(this.wanted.map((batch) => batch.batch_id));
    const others = [...this.ready.keys()].filter((batchId) => !wanted.has(batchId));
    for (const batchId of others) this.ready.delete(batchId);
    await this.store.drop(others);
  }

  /** How many bytes it took, or why it did not work. */
  private async keepOne(batch: Batch): Promise<number | 'no room' | 'away'> {
    const jobs = SIZES.flatMap((size) =>
      batch.slot_order.map((candidate) => ({ candidate, size, url: batch[size][candidate] ?? '' })),
    );
    try {
      return await this.store.put(batch.batch_id, jobs);
    } catch (error) {
      return error instanceof DOMException && error.name === 'QuotaExceededError' ? 'no room' : 'away';
    }
  }

  private tell(stopped: Offline['stopped']): void {
    const sizes = this.wanted.map((batch) => this.ready.get(batch.batch_id)).filter((size) => size !== undefined);
    const [ready, wanted] = [sizes.length, this.wanted.length];
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const expected = ready >= ENOUGH ? Math.round((bytes / ready) * wanted) : 0;
    this.state.value = { ...this.state.value, ready, wanted, bytes, expected, stopped };
  }
}
