/**
 * Pictures kept for the offline mode, in the browser's cache under an address of our own: by batch, candidate and
 * size. The service worker answers it (sw/sw.ts).
 */
import type { Size } from './prefetch.ts';

/** Also in sw/sw.ts, which imports nothing. */
export const KEPT_CACHE = 'comfylabel-kept';
export const KEPT_PATH = '/kept/';
/** Half of what is allowed in flight: the pictures that are shown come first. */
const AT_ONCE = 2;

export interface PictureJob {
  readonly candidate: number;
  readonly size: Size;
  readonly url: string;
}

export interface PictureStore {
  /** Whether this page gets an answer from its addresses now. */
  isServed(): boolean;
  address(batchId: string, candidate: number, size: Size): string;
  /** Batches that are here whole, and their bytes. */
  list(): Promise<ReadonlyMap<string, number>>;
  /** All pictures of one batch, and then the note that it is whole. Says how many bytes. */
  put(batchId: string, jobs: readonly PictureJob[]): Promise<number>;
  drop(batchIds: readonly string[]): Promise<void>;
  clear(): Promise<void>;
}

export class KeptPictures implements PictureStore {
  private readonly caches: CacheStorage;
  private readonly fetch: (url: string) => Promise<Response>;
  readonly isServed: () => boolean;

  constructor(caches: CacheStorage, fetch: (url: string) => Promise<Response>, isServed: () => boolean) {
    this.caches = caches;
    this.fetch = fetch;
    this.isServed = isServed;
  }

  address(batchId: string, candidate: number, size: Size): string {
    return `${KEPT_PATH}${batchId}/${candidate}/${size}`;
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    const cache = await this.caches.open(KEPT_CACHE);
    for (const request of await cache.keys()) {
      const [batchId = '', ...rest] = new URL(request.url).pathname.slice(KEPT_PATH.length).split('/');
      if (rest.length > 0) continue;
      const note = await cache.match(request);
      found.set(batchId, Number(await note?.text()));
    }
    return found;
  }

  async put(batchId: string, jobs: readonly PictureJob[]): Promise<number> {
    const cache = await this.caches.open(KEPT_CACHE);
    const waiting = [...jobs];
    let bytes = 0;
    const work = async () => {
      for (let job = waiting.shift(); job; job = waiting.shift()) {
        const size = await this.keep(cache, batchId, job);
        bytes += size;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    await cache.put(KEPT_PATH + batchId, new Response(String(bytes)));
    return bytes;
  }

  async drop(batchIds: readonly string[]): Promise<void> {
    if (batchIds.length === 0) return;
    const gone = new Set(batchIds);
    const cache = await this.caches.open(KEPT_CACHE);
    for (const request of await cache.keys()) {
      const [batchId = ''] = new URL(request.url).pathname.slice(KEPT_PATH.length).split('/');
      if (gone.has(batchId)) await cache.delete(request);
    }
  }

  async clear(): Promise<void> {
    await this.caches.delete(KEPT_CACHE);
  }

  private async keep(cache: Cache, batchId: string, job: PictureJob): Promise<number> {
    const response = await this.fetch(job.url);
    if (response.status >= 500 || response.status === 429) throw new Error(`status ${response.status}`);
    // A picture that is gone is gone with a network too: its tile says so.
    if (!response.ok) return 0;
    const picture = await response.blob();
    const headers = { 'Content-Type': picture.type };
    await cache.put(this.address(batchId, job.candidate, job.size), new Response(picture, { headers }));
    return picture.size;
  }
}
