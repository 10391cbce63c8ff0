/**
 * The pictures of a sitting: which address each has (the same for as long as it works, however often the server sends
 * others), and which ones are fetched before somebody asks for them.
 */
import { signal } from '@preact/signals';
import { type Job, keyOf, Prefetcher, type Size } from '../engine/prefetch.ts';
import type { Batch } from './types.ts';

export interface Kept {
  /** Where a picture lies on this device; null where it does not. */
  address(batchId: string, candidate: number, size: Size): string | null;
}

export interface PictureWorld {
  /** Resolves when the picture is here and decoded. */
  loadPicture(url: string, urgency: Job['urgency'], stop: AbortSignal): Promise<unknown>;
  /** False only where there is no network for certain. */
  onLine(): boolean;
}

export interface PictureSource {
  batch(batchId: string): Batch | undefined;
  renew(batchId: string): Promise<void>;
}

export class Pictures {
  private readonly world: PictureWorld;
  private readonly kept: Kept;
  private readonly source: PictureSource;
  private readonly prefetcher: Prefetcher;
  private readonly pinned = new Map<string, string>();
  private readonly renewals = new Map<string, Promise<void>>();
  private readonly renewedOnce = new Set<string>();
  /** Counts what has come: whoever asked whether a picture is here asks again. */
  private readonly arrivals = signal(0);

  constructor(world: PictureWorld, kept: Kept, source: PictureSource) {
    this.world = world;
    this.kept = kept;
    this.source = source;
    this.prefetcher = new Prefetcher(
      (job, stop) => this.load(job, stop),
      (job) => void this.broken(job.batch_id),
    );
  }

  /** A second address for a picture that is here would fetch it a second time. */
  address(batch: Batch, candidate: number, size: Size): string {
    const key = keyOf(batch.batch_id, candidate, size);
    const pinned = this.pinned.get(key);
    if (pinned !== undefined) return pinned;
    const address = this.kept.address(batch.batch_id, candidate, size) ?? batch[size][candidate] ?? '';
    this.pinned.set(key, address);
    return address;
  }

  isHere(batch: Batch, candidate: number, size: Size): boolean {
    return this.arrivals.value >= 0 && this.prefetcher.has(keyOf(batch.batch_id, candidate, size));
  }

  want(jobs: readonly Job[]): void {
    this.prefetcher.want(jobs);
  }

  limit(most: number): void {
    this.prefetcher.limit(most);
  }

  /** New addresses for a batch; many may ask at the same time. */
  renew(batchId: string): Promise<void> {
    const underWay = this.renewals.get(batchId);
    if (underWay) return underWay;
    const renewal = this.source.renew(batchId).finally(() => this.renewals.delete(batchId));
    this.renewals.set(batchId, renewal);
    return renewal;
  }

  /** The batch has new addresses: they are for what is not here yet. */
  renewed(batchId: string): void {
    for (const key of this.pinned.keys())
      if (key.startsWith(`${batchId}:`) && !this.prefetcher.has(key)) this.pinned.delete(key);
  }

  /** The server answers again: so may the pictures that did not come. */
  tryAgain(): void {
    this.prefetcher.retry();
  }

  /** Batches that are no longer here. */
  forget(stays: (batchId: string) => boolean): void {
    for (const key of this.pinned.keys()) if (!stays(key.slice(0, key.indexOf(':')))) this.pinned.delete(key);
  }

  close(): void {
    this.prefetcher.want([]);
  }

  private async load({ batch_id, candidate, size, urgency }: Job, stop: AbortSignal): Promise<unknown> {
    const batch = this.source.batch(batch_id);
    const picture = batch && (await this.world.loadPicture(this.address(batch, candidate, size), urgency, stop));
    // After the prefetcher has taken it in.
    queueMicrotask(() => (this.arrivals.value += 1));
    return picture;
  }

  /** An address that ran out is renewed once; what fails again is the tile's to tell. */
  private async broken(batchId: string): Promise<void> {
    if (this.renewedOnce.has(batchId) || !this.world.onLine()) return;
    this.renewedOnce.add(batchId);
    await this.renew(batchId);
    this.prefetcher.retry(batchId);
  }
}
