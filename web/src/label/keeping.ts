/** The offline mode: the pictures of everything that is held, kept on this device. */
import { signal } from '@preact/signals';
import type { PictureStore } from '../engine/kept.ts';
import type { Size } from '../engine/prefetch.ts';
import type { Kept } from './pictures.ts';
import { HOLD_OFFLINE } from './supply.ts';
import type { Batch, Offline } from './types.ts';

/** What is kept of every picture; it stands for the other sizes too. */
const KEPT_SIZES = ['thumbnails', 'previews'] as const;
/** An average of so many says what all will take. */
const ENOUGH = 3;

export class Keeping implements Kept {
  readonly state = signal<Offline>({
    possible: false,
    on: false,
    ready: 0,
    wanted: 0,
    bytes: 0,
    expected: 0,
    stopped: null,
  });
  private readonly store: PictureStore | null;
  private readonly persist: () => Promise<unknown>;
  /** Batches whose pictures all lie here, and their bytes. */
  private readonly ready = new Map<string, number>();
  private wanted: readonly Batch[] = [];
  private running: Promise<void> | null = null;

  constructor(store: PictureStore | null, persist: () => Promise<unknown>) {
    this.store = store;
    this.persist = persist;
    this.tell({ possible: store !== null });
  }

  /** What lies here from before. */
  async recall(): Promise<void> {
    for (const [batchId, bytes] of (await this.store?.list()) ?? []) this.ready.set(batchId, bytes);
  }

  address(batchId: string, candidate: number, size: Size): string | null {
    if (!this.store || size === 'fullres' || !this.ready.has(batchId)) return null;
    return this.store.address(batchId, candidate, size === 'thumbnails' ? 'thumbnails' : 'previews');
  }

  begin(): void {
    this.tell({ on: true, wanted: HOLD_OFFLINE, stopped: null });
    void this.persist();
  }

  async end(): Promise<void> {
    this.wanted = [];
    this.ready.clear();
    await this.running;
    await this.store?.clear();
    this.tell({ on: false, ready: 0, wanted: 0, bytes: 0, expected: 0, stopped: null });
  }

  /** These, and no others, in this order. */
  keep(batches: readonly Batch[]): void {
    this.wanted = batches;
    this.tell({ on: true, wanted: batches.length, stopped: null });
    this.running ??= this.run().finally(() => {
      this.running = null;
    });
  }

  private async run(): Promise<void> {
    const store = this.store;
    if (!store) return;
    await this.dropOthers(store);
    for (let batch = this.nextOne(); batch; batch = this.nextOne()) {
      const outcome = await keepOne(store, batch);
      if (typeof outcome === 'string') return this.tell({ stopped: outcome });
      this.ready.set(batch.batch_id, outcome);
      this.tell({});
    }
  }

  private nextOne(): Batch | undefined {
    return this.wanted.find((batch) => !this.ready.has(batch.batch_id));
  }

  private async dropOthers(store: PictureStore): Promise<void> {
    const wanted = new Set(this.wanted.map((batch) => batch.batch_id));
    const others = [...this.ready.keys()].filter((batchId) => !wanted.has(batchId));
    for (const batchId of others) this.ready.delete(batchId);
    await store.drop(others);
  }

  private tell(change: Partial<Offline>): void {
    const ready = this.wanted.filter((batch) => this.ready.has(batch.batch_id));
    const bytes = ready.reduce((sum, batch) => sum + (this.ready.get(batch.batch_id) ?? 0), 0);
    const wanted = change.wanted ?? this.state.value.wanted;
    const expected = ready.length >= ENOUGH ? Math.round((bytes / ready.length) * wanted) : 0;
    this.state.value = { ...this.state.value, ready: ready.length, bytes, expected, ...change };
  }
}

/** How many bytes it took, or why it did not work. */
async function keepOne(store: PictureStore, batch: Batch): Promise<number | 'no room' | 'away'> {
  const jobs = KEPT_SIZES.flatMap((size) =>
    batch.slot_order.map((candidate) => ({ candidate, size, url: batch[size][candidate] ?? '' })),
  );
  try {
    return await store.put(batch.batch_id, jobs);
  } catch (error) {
    return error instanceof DOMException && error.name === 'QuotaExceededError' ? 'no room' : 'away';
  }
}
