/** Which pictures to fetch before they are asked for, and in which order. */

export interface Pictures {
  readonly thumbnails: readonly string[];
  readonly previews: readonly string[];
}

export const THUMBNAILS_AHEAD = 20;
export const PREVIEWS_AHEAD = 6;
const IN_FLIGHT = 6;
/** About 40 batches of 4 in both sizes: decoded pictures cost memory on a phone. */
const KEPT = 320;

/** The addresses round `at`, most urgent first: this batch, the next one, coming thumbnails, previews by nearness. */
export function plan(batches: readonly Pictures[], at: number): string[] {
  const urls = new Set<string>();
  const add = (index: number, size: keyof Pictures) => {
    for (const url of batches[index]?.[size] ?? []) urls.add(url);
  };
  add(at, 'thumbnails');
  add(at, 'previews');
  add(at + 1, 'thumbnails');
  add(at + 1, 'previews');
  for (let step = 2; step <= THUMBNAILS_AHEAD; step++) add(at + step, 'thumbnails');
  for (let step = 2; step <= PREVIEWS_AHEAD; step++) add(at + step, 'previews');
  return [...urls];
}

/** Holds pictures warm, a few at a time; what is no longer wanted leaves the queue and, when room is short, memory. */
export class Prefetcher {
  private readonly held = new Map<string, unknown>();
  private readonly load: (url: string) => Promise<unknown>;
  private queue: string[] = [];
  private busy = 0;

  constructor(load: (url: string) => Promise<unknown>) {
    this.load = load;
  }

  want(urls: readonly string[]): void {
    this.queue = urls.filter((url) => !this.held.has(url));
    const wanted = new Set(urls);
    for (const url of this.held.keys()) {
      if (this.held.size <= KEPT) break;
      if (!wanted.has(url)) this.held.delete(url);
    }
    this.pump();
  }

  private pump(): void {
    while (this.busy < IN_FLIGHT) {
      const url = this.queue.shift();
      if (url === undefined) return;
      this.busy += 1;
      this.held.set(url, null);
      this.load(url)
        .then((picture) => this.held.has(url) && this.held.set(url, picture))
        // Not this one's turn to complain: the tile that shows it will.
        .catch(() => this.held.delete(url))
        .finally(() => {
          this.busy -= 1;
          this.pump();
        });
    }
  }
}

export async function loadPicture(url: string): Promise<HTMLImageElement> {
  const picture = new Image();
  picture.decoding = 'async';
  picture.src = url;
  await picture.decode();
  return picture;
}
