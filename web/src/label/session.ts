/** One sitting of one person at one task: which batch is shown, what was answered, what comes next. No DOM in here. */
import { batch as together, computed, effect, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { Entry, OutboxState } from '../engine/outbox.ts';
import { BATCHES_AHEAD, IN_FLIGHT, IN_FLIGHT_UNSENT, plan, type Size } from '../engine/prefetch.ts';
import type { Keeping } from './keeping.ts';
import { Marks } from './marks.ts';
import { Pictures, type PictureWorld } from './pictures.ts';
import { Queue } from './queue.ts';
import { type Beginning, PATIENCE_MS, Supply, type SupplyWorld } from './supply.ts';
import type { Batch, Given, Kind, Progress, Refusal, Sitting } from './types.ts';

/** The outbox as far as a sitting uses it. */
export interface Mail {
  readonly state: ReadonlySignal<OutboxState>;
  readonly refusals: Signal<readonly Refusal[]>;
  put(entry: Entry): Promise<void>;
  takeBack(clientId: string, undo: Entry): Promise<void>;
  flush(): Promise<void>;
  of(userId: string): Promise<Entry[]>;
}

export interface World extends SupplyWorld, PictureWorld {
  readonly mail: Mail;
  readonly keeping: Keeping;
  readonly person: { readonly id: string; readonly name: string };
  /** What the page brought with it. */
  readonly beginning: Beginning | null;
  newId(): string;
  /** When the frame that is being made is on the screen. */
  afterPaint(run: () => void): void;
  saveData(): boolean;
}

/** A second tap that follows the change of pictures so closely was meant for the batch before. */
const DOUBLE_FIRE_MS = 150;
const SIZES: Record<number, Size> = { 256: 'thumbnails', 640: 'tiles', 1024: 'previews' };

export class LabelSession implements Sitting {
  readonly taskId: string;
  readonly answers = signal<ReadonlyMap<string, Given>>(new Map());
  readonly size = signal<Size>('tiles');
  /** The answers that undo takes back, the last one last. */
  private readonly history = signal<readonly string[]>([]);
  private readonly world: World;
  private readonly queue = new Queue((batchId) => this.isAnswered(batchId));
  private readonly supply: Supply;
  private readonly marks: Marks;
  private readonly pictures: Pictures;
  /** Answered before this sitting began, and not known to the server yet. */
  private readonly answeredBefore = new Set<string>();
  private readonly renewals = new Map<string, Promise<void>>();
  private readonly stopWatching: (() => void)[];
  private beginning: Beginning | null;
  private shownAt = 0;
  private isPainted = false;

  readonly batches = this.queue.batches;
  readonly at = this.queue.at;
  readonly current = this.queue.current;
  readonly undoable = computed(() => this.history.value.length > 0);

  constructor(taskId: string, world: World) {
    this.taskId = taskId;
    this.world = world;
    this.beginning = world.beginning;
    this.marks = new Marks(world.later);
    this.pictures = new Pictures(world, world.keeping, {
      batch: (batchId) => this.batches.peek().find((one) => one.batch_id === batchId),
      renew: (batchId) => this.renew(batchId),
    });
    this.supply = new Supply(world, this.queue, {
      answered: () => this.answers.peek().size,
      unsent: () => this.unsentOfTask(),
      isBusyWith: (batchId) => this.marks.isInGrace && this.current.peek()?.batch_id === batchId,
      onTaken: () => this.taken(),
    });
    const shown = computed(() => this.current.value?.batch_id);
    this.stopWatching = [
      effect(() => this.stands(shown.value)),
      effect(() => this.obeyVariant()),
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
  get mode() {
    return this.marks.mode;
  }
  get place() {
    return this.marks.place;
  }
  get chosen() {
    return this.marks.chosen;
  }
  get rejecting() {
    return this.marks.rejecting;
  }
  get rejected() {
    return this.marks.rejected;
  }
  get refusals() {
    return this.world.mail.refusals;
  }
  get offline() {
    return this.world.keeping.state;
  }

  readonly title = computed(() => this.supply.standing.value?.title ?? '');
  readonly blind = computed(() => this.supply.standing.value?.blind ?? false);
  readonly coming = computed(() => this.supply.standing.value?.coming ?? 0);
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
    await this.world.keeping.recall();
    for (const entry of await this.unsentHere()) this.answeredBefore.add(entry.batch_id);
    if (this.beginning) await this.supply.begin(this.beginning);
    this.beginning = null;
    const cancel = this.world.later(() => void this.supply.recall(), PATIENCE_MS);
    await this.supply.ask();
    cancel();
  }

  choose(place: number, stamp?: number): void {
    if (this.isEarly(stamp) || !this.hasPlace(place) || this.marks.takes(place)) return;
    this.submit('choice', place, stamp);
  }

  tap(place: number, stamp = this.world.now()): void {
    if (this.isEarly(stamp) || !this.hasPlace(place) || this.marks.takes(place)) return;
    this.marks.mark(place, () => this.submit('choice', place, stamp));
  }

  untap(): void {
    this.marks.unmark(this.givenHere());
  }

  reject(place: number): void {
    if (this.hasPlace(place)) this.marks.reject(place);
  }

  toggleRejecting(): void {
    this.marks.toggleRejecting();
  }

  tie(stamp?: number): void {
    if (!this.isEarly(stamp)) this.submit('tie', null, stamp);
  }

  spam(stamp?: number): void {
    if (!this.isEarly(stamp)) this.submit('spam', null, stamp);
  }

  skip(stamp?: number): void {
    if (!this.isEarly(stamp)) this.submit('skip', null, stamp);
  }

  undo(): void {
    if (this.marks.isInGrace) return this.untap();
    const batchId = this.history.value.at(-1);
    const given = this.answers.value.get(batchId ?? '');
    if (batchId === undefined || !given) return;
    const body = { undo_of: given.client_id, client_id: this.world.newId(), user_id: this.world.person.id };
    void this.world.mail.takeBack(given.client_id, this.entry(batchId, body));
    const answers = new Map(this.answers.value);
    answers.delete(batchId);
    together(() => {
      this.answers.value = answers;
      this.history.value = this.history.value.slice(0, -1);
    });
    void this.bringBack(batchId);
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
    if (this.isPainted) return;
    this.isPainted = true;
    this.shownAt = this.world.now();
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
    const underWay = this.renewals.get(batchId);
    if (underWay) return underWay;
    const renewal = this.fetchAgain(batchId).finally(() => this.renewals.delete(batchId));
    this.renewals.set(batchId, renewal);
    return renewal;
  }

  async keepOffline(on: boolean): Promise<void> {
    this.supply.offline.value = on;
    await this.supply.remember();
    if (on) this.world.keeping.begin();
    else await this.world.keeping.end();
    await this.supply.ask();
  }

  /** Somebody looks at the page, or looks away. */
  attend(visible: boolean): void {
    this.supply.attend(visible);
  }

  leave(): void {
    // Who works offline takes the batches along.
    if (!this.supply.offline.value) void this.supply.release();
  }

  close(): void {
    this.marks.stopGrace();
    this.supply.close();
    this.pictures.close();
    for (const stop of this.stopWatching) stop();
  }

  private submit(kind: Kind, chosen: number | null, stamp = this.world.now()): void {
    const batch = this.current.value;
    if (!batch) return;
    const rejected = kind === 'choice' ? this.marks.rejected.value : null;
    const given: Given = { kind, chosen, rejected, client_id: this.world.newId() };
    void this.world.mail.put(this.entry(batch.batch_id, this.bodyOf(batch, given, stamp)));
    void this.world.held.forget([batch.batch_id]);
    this.marks.stopGrace();
    together(() => {
      this.answers.value = new Map(this.answers.value).set(batch.batch_id, given);
      this.history.value = [...this.history.value.filter((one) => one !== batch.batch_id), batch.batch_id];
      this.queue.advance(this.at.value + 1);
    });
    this.supply.refill();
  }

  private bodyOf(batch: Batch, given: Given, stamp: number) {
    const candidate = (place: number | null) => (place === null ? null : (batch.slot_order[place] ?? null));
    return {
      task_id: this.taskId,
      batch_id: batch.batch_id,
      user_id: this.world.person.id,
      client_id: given.client_id,
      kind: given.kind,
      chosen_index: candidate(given.chosen),
      rejected_index: candidate(given.rejected),
      spam: given.kind === 'spam',
      slot_order: batch.slot_order,
      elapsed_ms: Math.max(0, Math.round(stamp - this.shownAt)),
    };
  }

  private entry(batchId: string, body: { client_id: string }): Entry {
    const { id, name } = this.world.person;
    const { client_id } = body;
    return { user_id: id, user_name: name, task_id: this.taskId, batch_id: batchId, client_id, body };
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
    if (!this.isAnswered(batchId)) await this.world.held.keep([fresh]);
  }

  /** Another batch stands there. */
  private stands(batchId: string | undefined): void {
    this.marks.reset(batchId === undefined ? undefined : this.answers.peek().get(batchId));
    this.shownAt = this.world.now();
    this.isPainted = false;
  }

  private obeyVariant(): void {
    const size = SIZES[this.variant.value?.image_size ?? 0];
    // Whatever the stage finds sharp.
    if (size && this.size.value !== size) this.size.value = size;
  }

  private isEarly(stamp = this.world.now()): boolean {
    return stamp - this.shownAt < DOUBLE_FIRE_MS;
  }

  private hasPlace(place: number): boolean {
    return place >= 0 && place < (this.current.value?.slot_order.length ?? 0);
  }

  private isAnswered(batchId: string): boolean {
    return this.answers.peek().has(batchId) || this.answeredBefore.has(batchId);
  }

  private givenHere(): Given | undefined {
    return this.answers.value.get(this.current.value?.batch_id ?? '');
  }

  private async unsentHere(): Promise<Entry[]> {
    const all = await this.world.mail.of(this.world.person.id);
    return all.filter((entry) => entry.task_id === this.taskId);
  }

  private async unsentOfTask(): Promise<number> {
    const entries = await this.unsentHere();
    return entries.reduce((sum, entry) => sum + ('undo_of' in entry.body ? -1 : 1), 0);
  }

  private taken(): void {
    this.pictures.tryAgain();
    this.pictures.forget((batchId) => this.queue.has(batchId));
    if (this.supply.offline.value) this.world.keeping.keep(this.queue.unanswered());
  }

  private fetchAhead(): void {
    const batches = this.variant.value?.prefetch_batches ?? BATCHES_AHEAD;
    const depth = { size: this.size.value, batches, saveData: this.world.saveData() };
    const jobs = plan(this.batches.value, this.at.value, depth);
    // Fetching the coming pictures never delays the present one.
    this.world.afterPaint(() => this.pictures.want(jobs));
  }

  private isLineBusy(): boolean {
    const { on, ready, wanted, stopped } = this.offline.value;
    return this.unsent.value > 0 || (on && ready < wanted && stopped === null);
  }
}
