/** Which pictures to fetch before they are asked for, in which order, and how many at a time. No framework. */

/** The stored sizes of a picture, smallest first: 256, 640, 1024 px and as it was made. */
export type Size = 'thumbnails' | 'tiles' | 'previews' | 'fullres';

export interface Pictures {
  readonly batch_id: string;
  /** In the order in which the person sees them. */
  readonly slot_order: readonly number[];
}

/** One picture. `key` names it by batch, candidate and size: an address that is renewed is the same picture. */
export interface Job {
  readonly key: string;
  readonly batch_id: string;
  readonly candidate: number;
  readonly size: Size;
  readonly urgency: 'high' | 'low';
}

export interface Depth {
  /** Of the pictures in the tiles. */
  readonly size: Size;
  /** How many batches ahead have those. */
  readonly batches: number;
  /** How many batches ahead have their thumbnails. */
  readonly thumbnails: number;
  /** The person asked the browser for fewer bytes. */
  readonly saveData: boolean;
}

export const THUMBNAILS_AHEAD = 20;
export const BATCHES_AHEAD = 6;
const FRUGAL_AHEAD = 2;
export const IN_FLIGHT = 4;
/** Answers leave first: pictures take what is left of a thin line. */
export const IN_FLIGHT_UNSENT = 2;
/** About 40 batches of 4 in both sizes: decoded pictures cost memory on a phone. */
const KEPT = 320;

export function keyOf(batchId: string, candidate: number, size: Size): string {
  return `${batchId}:${candidate}:${size}`;
}

/** The smallest stored size that is sharp in a tile of so many device pixels; a little softness (10 %) is not seen. */
export function sizeFor(pixels: number): Size {
  return pixels <= 256 ? 'thumbnails' : pixels <= 700 ? 'tiles' : 'previews';
}

/**
 * The pictures round `at`, most urgent first: this batch, then one batch after the other with both sizes, then the
 * thumbnails of those further on.
 */
export function plan(batches: readonly Pictures[], at: number, depth: Depth): Job[] {
  const jobs = new Map<string, Job>();
  const add = (step: number, size: Size) => {
    const batch = batches[at + step];
    for (const candidate of batch?.slot_order ?? []) {
      const job = jobOf(batch as Pictures, candidate, size, step <= 1 ? 'high' : 'low');
      jobs.set(job.key, job);
    }
  };
  const ahead = depth.saveData ? Math.min(FRUGAL_AHEAD, depth.batches) : depth.batches;
  const far = Math.max(depth.thumbnails, ahead);
  for (let step = 0; step <= far; step++) {
    add(step, 'thumbnails');
    if (step <= ahead) add(step, depth.size);
  }
  return [...jobs.values()];
}

function jobOf(batch: Pictures, candidate: number, size: Size, urgency: Job['urgency']): Job {
  return { key: keyOf(batch.batch_id, candidate, size), batch_id: batch.batch_id, candidate, size, urgency };
}

/** Resolves when the picture is here and decoded. */
export type Load = (job: Job, signal: AbortSignal) => Promise<unknown>;

/** Holds pictures warm, a few at a time; what is no longer wanted is broken off and, when room is short, let go. */
export class Prefetcher {
  private readonly held = new Map<string, unknown>();
  private readonly underWay = new Map<string, AbortController>();
  private readonly failed = new Set<string>();
  private readonly load: Load;
  private readonly onFailed: (job: Job) => void;
  private queue: readonly Job[] = [];
  private most = IN_FLIGHT;

  /** `onFailed` hears of a picture once; it is tried again after `retry`. */
  constructor(load: Load, onFailed: (job: Job) => void = () => {}) {
    this.load = load;
    this.onFailed = onFailed;
  }

  want(jobs: readonly Job[]): void {
    this.queue = jobs;
    const wanted = new Set(jobs.map((job) => job.key));
    for (const [key, stop] of this.underWay) if (!wanted.has(key)) stop.abort();
    for (const key of this.held.keys()) {
      if (this.held.size <= KEPT) break;
      if (!wanted.has(key)) this.held.delete(key);
    }
    this.pump();
  }

  /** How many may be under way at once; those that are go on. */
  limit(most: number): void {
    this.most = most;
    this.pump();
  }

  /** What failed may work now: of one batch, or all. */
  retry(batchId?: string): void {
    for (const key of this.failed) if (batchId === undefined || key.startsWith(`${batchId}:`)) this.failed.delete(key);
    this.pump();
  }

  /** Here and decoded: a tile shows it without a request. */
  has(key: string): boolean {
    return this.held.has(key);
  }

  private pump(): void {
    for (const job of this.queue) {
      if (this.underWay.size >= this.most) return;
      const { key } = job;
      if (!this.held.has(key) && !this.underWay.has(key) && !this.failed.has(key)) void this.fetch(job);
    }
  }

  private async fetch(job: Job): Promise<void> {
    const stop = new AbortController();
    this.underWay.set(job.key, stop);
    try {
      this.held.set(job.key, await this.load(job, stop.signal));
    } catch {
      if (!stop.signal.aborted) this.giveUp(job);
    } finally {
      this.underWay.delete(job.key);
      this.pump();
    }
  }

  private giveUp(job: Job): void {
    this.failed.add(job.key);
    this.onFailed(job);
  }
}

/** A browser's way to have a picture: fetched, decoded, and kept for as long as somebody holds the element. */
export async function loadPicture(
  url: string,
  urgency: Job['urgency'],
  signal: AbortSignal,
): Promise<HTMLImageElement> {
  const picture = new Image();
  picture.decoding = 'async';
  picture.fetchPriority = urgency;
  picture.src = url;
  const left = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      // Taking the address away breaks the download off; decode() does not always say so.
      picture.removeAttribute('src');
      reject(signal.reason as Error);
    });
  });
  await Promise.race([picture.decode(), left]);
  return picture;
}
