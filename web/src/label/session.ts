/** One sitting of one person at one task: which batch is shown, what was answered, what comes next. No DOM in here. */
import { batch as together, computed, effect, signal } from '@preact/signals';
import { BATCHES_AHEAD, IN_FLIGHT, IN_FLIGHT_UNSENT, plan, type Size, THUMBNAILS_AHEAD } from '../engine/prefetch.ts';
import { Answering, type Mail, type Person } from './answering.ts';
import { Marks } from './marks.ts';
import { OfflineMode, type OpenKeeping } from './offline.ts';
import { Peek } from './peek.ts';
import { Pictures, type PictureWorld } from './pictures.ts';
import { Queue } from './queue.ts';
import { Stopwatch } from './stopwatch.ts';
import { type Beginning, PATIENCE_MS, Supply, type SupplyWorld } from './supply.ts';
import type { Batch, Kind, Progress, Sitting } from './types.ts';

export interface World extends SupplyWorld, PictureWorld {
  readonly mail: Mail;
  readonly person: Person;
  readonly keeping: OpenKeeping;
  /** What the page brought with it. */
  readonly beginning: Beginning | null;
  newId(): string;
  /** When the frame that is being made is on the screen. */
  afterPaint(run: () => void): void;
  saveData(): boolean;
}

const SIZES: Record<number, Size> = { 256: 'thumbnails', 640: 'tiles', 1024: 'previews' };

export class LabelSession implements Sitting {
  readonly taskId: string;
  readonly sharp = signal<Size>('tiles');
  private readonly world: World;
  private readonly answering: Answering;
  private readonly peek = new Peek();
  private readonly watch = new Stopwatch(() => this.world.now());
  private readonly marks = new Marks((run, ms) => this.world.later(run, ms));
  private readonly queue = new Queue((batchId) => this.answering.has(batchId));
  private readonly supply: Supply;
  private readonly pictures: Pictures;
  private readonly offlineMode: OfflineMode;
  private readonly stops: (() => void)[];
  private beginning: Beginning | null;

  readonly batches = this.queue.batches;
  readonly at = this.queue.at;
  readonly current = this.queue.current;
  private readonly shownId = computed(() => this.current.value?.batch_id);
  readonly mode = this.marks.mode;
  readonly place = this.marks.place;
  readonly chosen = this.marks.chosen;
  readonly rejecting = this.marks.rejecting;
  readonly rejected = this.marks.rejected;

  constructor(taskId: string, world: World) {
    this.taskId = taskId;
    this.world = world;
    this.beginning = world.beginning;
    this.answering = new Answering(taskId, world.person, world.mail);
    this.offlineMode = new OfflineMode(world.keeping);
    this.supply = new Supply(world, this.queue, {
      answered: () => this.answers.peek().size,
      unsent: () => this.answering.unsent(),
      isBusyWith: (batchId) => this.marks.isInGrace && this.shownId.peek() === batchId,
      onTaken: () => this.taken(),
    });
    this.pictures = new Pictures(world, this.offlineMode, {
      batch: (batchId) => this.batches.peek().find((one) => one.batch_id === batchId),
      renew: (batchId) => this.fetchAgain(batchId),
    });
    this.stops = [
      effect(() => this.answering.refused(this.refusals.value)),
      effect(() => this.stands(this.shownId.value)),
      effect(() => this.fetchAhead()),
      effect(() => this.pictures.limit(this.isLineBusy() ? IN_FLIGHT_UNSENT : IN_FLIGHT)),
    ];
  }

  get phase() {
    return this.supply.phase;
  }
  get variant() {
    return this.supply.variant;
  }
  get answers() {
    return this.answering.answers;
  }
  get refusals() {
    return this.world.mail.refusals;
  }
  get offline() {
    return this.offlineMode.state;
  }

  readonly size = computed(() => SIZES[this.variant.value?.image_size ?? 0] ?? this.sharp.value);
  readonly title = computed(() => this.supply.standing.value?.title ?? '');
  readonly blind = computed(() => this.supply.standing.value?.blind ?? false);
  readonly coming = computed(() => this.supply.standing.value?.coming ?? 0);
  readonly undoable = computed(() => this.answering.history.value.length > 0);
  readonly unsent = computed(() => this.world.mail.state.value.unsent);
  readonly held = computed(() => this.unsent.value > 0 && this.world.mail.state.value.held !== null);
  readonly lasting = computed(() => this.world.mail.state.value.lasting);
  readonly progress = computed<Progress>(() => {
    const mine = this.supply.mineBefore.value + this.answers.value.size;
    const total = Math.max(this.supply.standing.value?.total ?? 0, mine);
    return { position: Math.min(this.positionOf(this.at.value), Math.max(total, 1)), total, mine };
  });
  readonly ahead = computed(() => {
    const next = this.batches.value[this.at.value + 1];
    const sizes = ['thumbnails', this.size.value] as const;
    return !!next && next.slot_order.every((_, place) => sizes.every((size) => this.isHere(next, place, size)));
  });

  async load(): Promise<void> {
    // The first picture waits for nothing.
    if (this.beginning) {
      this.supply.begin(this.beginning);
      this.peek.begin(this.current.value);
    }
    this.beginning = null;
    await this.answering.learn();
    if (this.answering.has(this.shownId.value ?? '')) this.queue.advance(0);
    if ((await this.supply.restore()) && !this.offline.value.on) await this.offlineMode.begin();
    const cancel = this.world.later(
      () => void this.supply.recall().then(() => this.peek.decide(this.shownId.value)),
      PATIENCE_MS,
    );
    await this.supply.ask();
    cancel();
    this.peek.decide(this.shownId.value);
  }

  choose(place: number, stamp = this.world.now()): void {
    if (!this.watch.isEarly(stamp) && this.hasPlace(place) && !this.marks.takes(place))
      this.submit('choice', place, stamp);
  }

  tap(place: number, stamp = this.world.now()): void {
    if (this.watch.isEarly(stamp) || !this.hasPlace(place) || this.marks.takes(place)) return;
    this.marks.mark(place, () => this.submit('choice', place, stamp));
  }

  untap(): void {
    this.peek.forget();
    this.marks.unmark(this.answering.of(this.shownId.value));
  }

  touch(isDown: boolean): void {
    this.marks.isTouched = isDown;
  }

  reject(place: number): void {
    if (this.hasPlace(place)) this.marks.reject(place);
  }

  toggleRejecting(): void {
    this.marks.toggleRejecting();
  }

  tie(stamp = this.world.now()): void {
    if (!this.watch.isEarly(stamp)) this.submit('tie', null, stamp);
  }

  spam(stamp = this.world.now()): void {
    if (!this.watch.isEarly(stamp)) this.submit('spam', null, stamp);
  }

  skip(stamp = this.world.now()): void {
    if (!this.watch.isEarly(stamp)) this.submit('skip', null, stamp);
  }

  undo(): void {
    if (this.marks.isInGrace || this.peek.isHolding) return this.untap();
    const batchId = this.answering.undo(this.world.newId());
    if (batchId !== null) void this.bringBack(batchId);
  }

  go(step: 1 | -1): void {
    this.show(this.at.value + step);
  }

  show(index: number): void {
    if (index >= 0 && index < this.batches.value.length) this.at.value = index;
  }

  look(place: number): void {
    if (this.hasPlace(place)) this.marks.place.value = place;
  }

  toggleMode(): void {
    this.marks.mode.value = this.marks.mode.value === 'grid' ? 'single' : 'grid';
  }

  painted(): void {
    this.watch.painted();
  }

  positionOf(index: number): number {
    return this.supply.mineBefore.value + this.queue.before.value + index + 1;
  }

  picture(batch: Batch, place: number, size: Size): string {
    return this.pictures.address(batch, batch.slot_order[place] ?? 0, size);
  }

  isHere(batch: Batch, place: number, size: Size): boolean {
    return this.pictures.isHere(batch, batch.slot_order[place] ?? 0, size);
  }

  renew(batchId: string): Promise<void> {
    return this.pictures.renew(batchId);
  }

  async keepOffline(on: boolean): Promise<void> {
    this.supply.offline = on;
    await this.supply.remember();
    await (on ? this.offlineMode.begin() : this.offlineMode.end());
    await this.supply.ask();
  }

  /** Somebody looks at the page, or looks away. */
  attend(visible: boolean): void {
    this.supply.attend(visible);
  }

  leave(): void {
    // Who works offline takes the batches along.
    if (!this.supply.offline) void this.supply.release();
  }

  close(): void {
    this.marks.stopGrace();
    this.supply.close();
    this.pictures.close();
    for (const stop of this.stops) stop();
  }

  private submit(kind: Kind, chosen: number | null, stamp: number): void {
    const batch = this.current.value;
    if (!batch) return;
    if (this.peek.holds(batch.batch_id, () => this.submit(kind, chosen, stamp))) {
      this.marks.chosen.value = chosen;
      return;
    }
    const rejected = kind === 'choice' ? this.marks.rejected.value : null;
    const client_id = this.world.newId();
    together(() => {
      this.answering.give(batch, { kind, chosen, rejected, client_id }, this.watch.at(stamp));
      this.queue.advance(this.at.value + 1);
    });
    this.supply.refill();
    this.world.afterPaint(() => {
      if (this.answering.has(batch.batch_id)) void this.world.held.forget([batch.batch_id]);
    });
  }

  private async bringBack(batchId: string): Promise<void> {
    const here = this.batches.value.find((one) => one.batch_id === batchId);
    // Let go long ago: where it cannot be had now, it comes again with what is served.
    const batch = here ?? (await this.world.server.batch(batchId).catch(() => null));
    if (!batch) return;
    this.queue.bringBack(batch);
    this.marks.reset(undefined);
    await this.world.held.keep([batch]);
  }

  private async fetchAgain(batchId: string): Promise<void> {
    // What failed is shown by the tile, with a way to try again.
    const fresh = await this.world.server.batch(batchId).catch(() => null);
    if (!fresh) return;
    this.pictures.renewed(batchId);
    this.queue.replace(fresh);
    if (!this.answering.has(batchId)) await this.world.held.keep([fresh]);
  }

  /** Another batch stands there. */
  private stands(batchId: string | undefined): void {
    this.marks.reset(this.answering.of(batchId));
    this.watch.restart();
  }

  private hasPlace(place: number): boolean {
    return place >= 0 && place < (this.current.value?.slot_order.length ?? 0);
  }

  private taken(): void {
    this.pictures.tryAgain();
    this.pictures.forget((batchId) => this.queue.has(batchId));
    if (this.supply.offline) this.offlineMode.keep(this.queue.unanswered());
  }

  private fetchAhead(): void {
    const tried = this.variant.value?.prefetch_batches;
    const [batches, thumbnails] = [tried ?? BATCHES_AHEAD, tried ?? THUMBNAILS_AHEAD];
    const depth = { size: this.size.value, batches, thumbnails, saveData: this.world.saveData() };
    const [all, at] = [this.batches.value, this.at.value];
    // Neither finding out which pictures come next nor fetching them delays the present one.
    this.world.afterPaint(() => this.pictures.want(plan(all, at, depth)));
  }

  private isLineBusy(): boolean {
    return this.unsent.value > 0 || this.offlineMode.isFetching;
  }
}
