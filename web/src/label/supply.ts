/** Where batches come from: the server's leases, what lies here from before, and when to ask again. */
import { batch as together, computed, signal, type ReadonlySignal } from '@preact/signals';
import type { HeldStore } from '../engine/held.ts';
import { GATHER_MS, type OutboxState } from '../engine/outbox.ts';
import type { Later } from './marks.ts';
import type { Queue } from './queue.ts';
import type { Batch, Phase, Variant } from './types.ts';

/** The answer of `next`. */
export interface Next {
  readonly items: readonly Batch[];
  readonly dropped: readonly string[];
  readonly done_by_me: number;
  readonly hold: number;
  readonly state: 'work' | 'wait' | 'finished';
  readonly retry_after: number | null;
  readonly variant: Variant | null;
}

export interface Standing {
  readonly title: string;
  readonly total: number;
  readonly blind: boolean;
  /** Batches that are still being made. */
  readonly coming: number;
}

export interface SittingServer {
  next(have: readonly string[], count: number, offline: boolean): Promise<Next>;
  batch(batchId: string): Promise<Batch>;
  release(batchIds: readonly string[]): Promise<void>;
  standing(): Promise<Standing>;
}

/** What the page brought with it (`first.ts`). */
export interface Beginning {
  readonly next: Next;
  readonly standing: Standing;
}

/** What a reload without network has to know besides the batches. */
export interface HeldState {
  readonly standing: Standing | null;
  readonly variant: Variant | null;
  readonly mine: number;
  readonly offline: boolean;
}

export interface SupplyWorld {
  readonly server: SittingServer;
  readonly mail: SupplyMail;
  readonly held: HeldStore<Batch, HeldState>;
  readonly later: Later;
  now(): number;
}

/** What the sitting knows and its supply has to ask. */
export interface SupplySitting {
  /** Batches answered in this sitting. */
  answered(): number;
  /** Answers in this task that the server does not know yet. */
  unsent(): Promise<number>;
  /** Somebody is just about to answer this one: let them. */
  isBusyWith(batchId: string): boolean;
  onTaken(): void;
}

interface SupplyMail {
  readonly state: ReadonlySignal<OutboxState>;
  flush(): Promise<void>;
}

export const HOLD = 20;
export const HOLD_OFFLINE = 200;
/** One request costs the server two or three answers: asked when so many places of what one may hold are free. */
const REFILL = 10;
/** A little longer than an answer waits to be sent. */
const REFILL_MS = GATHER_MS + 200;
/** A lease lives 15 min without contact; a request that fails has two more chances. */
const CONTACT_MS = 4 * 60_000;
/** Back on the page after so long, what is held is asked about at once. */
const STALE_MS = 60_000;
/** A server that takes longer is away, for as long as it does: what lies here is shown. */
export const PATIENCE_MS = 4_000;
const FIRST_WAIT = 2_000;
const LONGEST_WAIT = 30_000;
/** Others may skip or undo: a finished task is looked at now and then. */
const FINISHED_MS = 60_000;

type Rest = Exclude<Phase, 'work'>;

export class Supply {
  readonly standing = signal<Standing | null>(null);
  readonly variant = signal<Variant | null>(null);
  /** The person's answers from before this sitting. */
  readonly mineBefore = signal(0);
  offline = false;
  private readonly rest = signal<Rest>('loading');
  private readonly world: SupplyWorld;
  private readonly queue: Queue;
  private readonly sitting: SupplySitting;
  private asking: Promise<void> | null = null;
  private cancel: (() => void) | null = null;
  private hold = HOLD;
  private isAskingSoon = false;
  private wait = FIRST_WAIT;
  private lastContact = -Infinity;
  private visible = true;
  private closed = false;

  readonly phase = computed<Phase>(() => {
    if (this.rest.value === 'ended' || this.world.mail.state.value.held === 'signed out') return 'ended';
    return this.queue.current.value ? 'work' : this.rest.value;
  });

  constructor(world: SupplyWorld, queue: Queue, sitting: SupplySitting) {
    this.world = world;
    this.queue = queue;
    this.sitting = sitting;
  }

  /** The page brought the first batches with it. */
  begin({ next, standing }: Beginning): void {
    together(() => {
      this.standing.value = standing;
      this.mineBefore.value = next.done_by_me;
      this.take(next);
    });
  }

  /** Was the offline mode on? Known before anything is asked: less asked for is given back. */
  async restore(): Promise<boolean> {
    const { state } = await this.world.held.load();
    this.offline ||= state?.offline ?? false;
    return this.offline;
  }

  /** What lay here from before, when the server does not answer. */
  async recall(): Promise<void> {
    const { batches, state } = await this.world.held.load();
    const unsent = await this.sitting.unsent();
    if (this.queue.batches.value.length > 0 || this.closed) return;
    together(() => {
      this.standing.value ??= state?.standing ?? null;
      this.variant.value ??= state?.variant ?? null;
      this.mineBefore.value = Math.max(0, (state?.mine ?? 0) + unsent - this.sitting.answered());
      this.queue.add(batches);
    });
  }

  /** Ask for what is missing; what is under way is waited for. */
  ask(): Promise<void> {
    this.unschedule();
    this.asking ??= this.round().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  /** After an answer: is it time to ask again? Not at once while something is left: an undo may follow. */
  refill(): void {
    const left = this.queue.unanswered().length;
    if (left === 0) void this.ask();
    else if (left <= Math.max(1, this.hold - REFILL) && !this.isAskingSoon) {
      this.schedule(REFILL_MS);
      this.isAskingSoon = true;
    }
  }

  /** Somebody looks at the page, or looks away. */
  attend(visible: boolean): void {
    this.visible = visible;
    if (!visible) return this.unschedule();
    if (this.world.now() - this.lastContact > STALE_MS || !this.queue.current.value) void this.ask();
    else this.schedule(CONTACT_MS);
  }

  /** What is held goes back to the others. */
  async release(): Promise<void> {
    const mine = this.queue.unanswered().map((one) => one.batch_id);
    await this.world.held.clear();
    if (mine.length > 0) await this.world.server.release(mine).catch(() => undefined);
  }

  close(): void {
    this.closed = true;
    this.unschedule();
  }

  private async round(): Promise<void> {
    try {
      // What was answered has to be known before more is handed out.
      await this.world.mail.flush();
      await this.askServer();
      this.wait = FIRST_WAIT;
    } catch (error) {
      await this.failed(statusOf(error));
    }
  }

  private async askServer(): Promise<void> {
    const { server, now } = this.world;
    const answered = this.sitting.answered();
    const offline = this.offline;
    const most = offline ? HOLD_OFFLINE : HOLD;
    const have = this.queue.unanswered().map((one) => one.batch_id);
    const [next, standing] = await Promise.all([
      server.next(have.slice(0, HOLD_OFFLINE), most, offline),
      this.standing.value && this.queue.current.value ? this.standing.value : server.standing(),
    ]);
    this.lastContact = now();
    const unsent = await this.sitting.unsent();
    if (this.closed) return;
    this.standing.value = standing;
    // Only where no answer came between: the number shown never jumps.
    if (answered === this.sitting.answered()) this.mineBefore.value = Math.max(0, next.done_by_me + unsent - answered);
    this.take(next);
    void this.world.held.keepOnly(this.queue.unanswered());
    void this.remember();
    this.sitting.onTaken();
    this.schedule(this.pauseAfter(next));
  }

  private take(next: Next): void {
    together(() => {
      this.variant.value = next.variant;
      this.hold = next.hold;
      this.queue.drop(new Set(next.dropped.filter((batchId) => !this.sitting.isBusyWith(batchId))));
      this.queue.add(next.items);
      this.rest.value = this.restAfter(next);
    });
  }

  private restAfter(next: Next): Rest {
    if (next.state === 'wait') return 'waiting';
    // What is held is answered here already, and the server does not know it yet.
    if (next.state === 'work') return 'loading';
    return next.done_by_me + this.sitting.answered() > 0 ? 'finished' : 'nothing';
  }

  private pauseAfter(next: Next): number {
    if (this.queue.current.value) return CONTACT_MS;
    if (this.rest.value === 'waiting' && next.retry_after !== null) return next.retry_after * 1000;
    return this.rest.value === 'loading' ? FIRST_WAIT : FINISHED_MS;
  }

  private async failed(status: number): Promise<void> {
    if (this.closed) return;
    if (status === 401) this.rest.value = 'ended';
    else if (status === 404 || status === 403) this.isGone();
    else await this.isAway(status);
  }

  private isGone(): void {
    this.queue.drop(new Set(this.queue.unanswered().map((one) => one.batch_id)));
    this.rest.value = 'gone';
  }

  private async isAway(status: number): Promise<void> {
    const begun = status !== 409;
    if (begun && this.queue.batches.value.length === 0) await this.recall();
    this.rest.value = begun ? 'away' : 'nothing';
    this.schedule(this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }

  /** For a reload without network. */
  remember(): Promise<void> {
    return this.world.held.saveState({
      standing: this.standing.value,
      variant: this.variant.value,
      mine: this.mineBefore.value + this.sitting.answered(),
      offline: this.offline,
    });
  }

  private schedule(ms: number): void {
    this.unschedule();
    if (this.visible && !this.closed) this.cancel = this.world.later(() => void this.ask(), ms);
  }

  private unschedule(): void {
    this.cancel?.();
    this.cancel = null;
    this.isAskingSoon = false;
  }
}

function statusOf(error: unknown): number {
  return error instanceof Error && 'status' in error ? Number(error.status) : 0;
}
