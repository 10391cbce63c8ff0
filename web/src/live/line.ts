/** One live line to the server: events as they happen, and questions where events do not come through.
 *
 *  The stream tells what changed; a question (`ask`) tells how everything stands. Questions are asked at the start,
 *  whenever the stream breaks, often while it is broken, and seldom while it holds: a proxy may keep events back, and
 *  a phone that changed its network does not hear that its old line is dead. */

/** What is used of an EventSource. */
export interface Stream {
  readonly readyState: number;
  addEventListener(kind: string, hear: (event: { data?: unknown }) => void): void;
  close(): void;
}

export interface LiveWorld {
  readonly open: (address: string) => Stream;
  readonly later: (run: () => void, ms: number) => () => void;
  readonly hidden: () => boolean;
  readonly complain: (error: unknown) => void;
}

export interface LiveWork {
  readonly address: string;
  /** Names of events, with what each is for. The data is JSON of our own server. */
  readonly on: Readonly<Record<string, (data: never) => void>>;
  /** Asks how everything stands, and answers with what puts it on the page. */
  readonly ask: (stop: AbortSignal) => Promise<() => void>;
}

/** As often as the pages asked before there were events. */
export const OFTEN_MS = 2_000;
/** What a person would still call live if a proxy swallowed every event. */
export const SELDOM_MS = 10_000;
/** A browser opens a refused stream again by itself only where the connection broke; else it is done here. */
export const FIRST_RETRY_MS = 1_000;
export const LAST_RETRY_MS = 30_000;
const CLOSED = 2;

export class LiveLine {
  private readonly work: LiveWork;
  private readonly world: LiveWorld;
  private stream: Stream | null = null;
  private holds = false;
  private retry = FIRST_RETRY_MS;
  private stopAsking: AbortController | null = null;
  private again = false;
  private meanwhile: (() => void)[] | null = null;
  private noRetry = () => {};
  private noQuestion = () => {};

  constructor(work: LiveWork, world: LiveWorld) {
    this.work = work;
    this.world = world;
  }

  /** Also when the page is looked at again, or the network is back. */
  start(): void {
    this.stop();
    if (this.world.hidden()) return;
    this.retry = FIRST_RETRY_MS;
    this.openStream();
    this.askNow();
  }

  stop(): void {
    this.closeStream();
    this.noQuestion();
    this.stopAsking?.abort();
    this.stopAsking = null;
    this.meanwhile = null;
    this.again = false;
  }

  /** Something was done: show what came of it. A question that is under way may have been answered before. */
  askNow(): void {
    if (this.stopAsking) this.again = true;
    else void this.question();
  }

  private openStream(): void {
    const stream = this.world.open(this.work.address);
    this.stream = stream;
    stream.addEventListener('open', () => {
      if (this.stream === stream) this.opened();
    });
    stream.addEventListener('error', () => {
      if (this.stream === stream) this.broke(stream);
    });
    for (const [kind, use] of Object.entries(this.work.on))
      stream.addEventListener(kind, ({ data }) => {
        if (this.stream === stream) this.heard(() => use(JSON.parse(String(data)) as never));
      });
  }

  private closeStream(): void {
    this.noRetry();
    this.holds = false;
    this.stream?.close();
    this.stream = null;
  }

  private opened(): void {
    this.holds = true;
    this.retry = FIRST_RETRY_MS;
    if (!this.stopAsking) this.planQuestion();
  }

  private broke(stream: Stream): void {
    const held = this.holds;
    this.holds = false;
    if (stream.readyState === CLOSED) {
      this.closeStream();
      this.noRetry = this.world.later(() => this.openStream(), this.retry);
      this.retry = Math.min(this.retry * 2, LAST_RETRY_MS);
    }
    // What happened since the last event is not told again by anybody.
    if (held) this.askNow();
  }

  /** An answer that was made before an event and comes after it must not undo it on the page. */
  private heard(use: () => void): void {
    this.meanwhile?.push(use);
    this.tell(use);
  }

  private tell(use: () => void): void {
    try {
      use();
    } catch (error) {
      this.world.complain(error);
    }
  }

  private async question(): Promise<void> {
    this.noQuestion();
    const stop = new AbortController();
    const meanwhile: (() => void)[] = [];
    this.stopAsking = stop;
    this.meanwhile = meanwhile;
    this.again = false;
    try {
      const show = await this.work.ask(stop.signal);
      if (!stop.signal.aborted) for (const use of [show, ...meanwhile]) this.tell(use);
    } catch (error) {
      if (!stop.signal.aborted) this.world.complain(error);
    }
    if (stop.signal.aborted) return;
    this.stopAsking = null;
    this.meanwhile = null;
    if (this.again) void this.question();
    else this.planQuestion();
  }

  private planQuestion(): void {
    this.noQuestion();
    this.noQuestion = this.world.later(() => void this.question(), this.holds ? SELDOM_MS : OFTEN_MS);
  }
}
