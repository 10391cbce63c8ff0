/** One sitting of one person at one task: which batch is shown, what was answered, what comes next. No DOM in here. */
import { batch as together, computed, signal } from '@preact/signals';
import type { Pictures } from './prefetch.ts';
import { THUMBNAILS_AHEAD } from './prefetch.ts';
import type { Answer } from './sender.ts';

export interface Batch extends Pictures {
  readonly batch_id: string;
  readonly prompt: string;
  /** Both empty where the task is blind. */
  readonly seeds: readonly number[];
  readonly batch_indexes: readonly number[];
  readonly sizes: readonly (readonly number[])[];
  readonly my_annotation: unknown;
}

export interface Page {
  readonly items: readonly Batch[];
  readonly next_cursor: string | null;
}

/** How the task stands: more may come while `generating`. */
export interface Standing {
  readonly title: string;
  readonly total: number;
  readonly mine: number;
  readonly ready: number;
  readonly generating: boolean;
}

export interface Server {
  page(cursor: string | null): Promise<Page>;
  standing(): Promise<Standing | null>;
  send(answer: Answer): void;
  newId(): string;
  now(): number;
}

/** gone: no such task, or nothing in it that can be labelled. */
export type Phase = 'loading' | 'work' | 'waiting' | 'finished' | 'gone' | 'away';
export type Kind = Answer['kind'];

/** An answer that follows the change of pictures so closely was meant for the batch before: a double tap. */
const DOUBLE_FIRE_MS = 150;
/** Batches to know of beyond the one shown: what the prefetch needs, and some to spare. */
const AHEAD = THUMBNAILS_AHEAD + 6;

export class LabelSession {
  readonly batches = signal<readonly Batch[]>([]);
  readonly at = signal(0);
  readonly standing = signal<Standing | null>(null);
  readonly answers = signal<ReadonlyMap<string, Answer>>(new Map());
  /** The next picture named is the rejected one. */
  readonly rejecting = signal(false);
  readonly rejected = signal<number | null>(null);
  private readonly ended = signal<Exclude<Phase, 'work'>>('loading');

  readonly current = computed(() => this.batches.value[this.at.value]);
  readonly phase = computed<Phase>(() => (this.current.value ? 'work' : this.ended.value));
  readonly progress = computed(() => {
    const standing = this.standing.value;
    const mine = (standing?.mine ?? 0) + this.answers.value.size;
    return { mine, total: Math.max(standing?.total ?? 0, mine) };
  });

  private readonly taskId: string;
  private readonly server: Server;
  private readonly seen = new Set<string>();
  private cursor: string | null = null;
  private reachedEnd = false;
  private loading: Promise<void> | null = null;
  private shownAt = 0;

  constructor(taskId: string, server: Server) {
    this.taskId = taskId;
    this.server = server;
  }

  /** Fetch until enough lies ahead or nothing is left; safe to call at any time. */
  load(): Promise<void> {
    this.loading ??= this.fetchAhead().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  /** A picture was named, by tap or by number. */
  name(index: number): void {
    const batch = this.current.value;
    if (!batch || index >= batch.thumbnails.length) return;
    if (!this.rejecting.value && this.rejected.value !== index) return this.answer('choice', index);
    together(() => {
      this.rejected.value = this.rejected.value === index ? null : index;
      this.rejecting.value = false;
    });
  }

  answer(kind: Kind, chosen: number | null = null): void {
    const batch = this.current.value;
    const now = this.server.now();
    if (!batch || now - this.shownAt < DOUBLE_FIRE_MS) return;
    const answer: Answer = {
      task_id: this.taskId,
      batch_id: batch.batch_id,
      kind,
      chosen_index: chosen,
      rejected_index: kind === 'choice' ? this.rejected.value : null,
      spam: kind === 'spam',
      client_id: this.server.newId(),
      elapsed_ms: Math.round(now - this.shownAt),
    };
    this.server.send(answer);
    together(() => {
      this.answers.value = new Map(this.answers.value).set(batch.batch_id, answer);
      this.move(this.at.value + 1);
    });
    if (!this.current.value || (!this.reachedEnd && this.ahead() < AHEAD)) void this.load();
  }

  toggleRejecting(): void {
    this.rejecting.value = !this.rejecting.value;
  }

  /** To the batch before; a new answer to it replaces the first. */
  back(): void {
    if (this.at.value > 0) this.move(this.at.value - 1);
  }

  /** New addresses for the pictures of a batch whose old ones no longer work. */
  async renew(batchId: string): Promise<void> {
    for (let cursor: string | null = null; ;) {
      const page: Page = await this.server.page(cursor);
      const fresh = page.items.find((item) => item.batch_id === batchId);
      if (fresh) {
        this.batches.value = this.batches.value.map((old) => (old.batch_id === batchId ? fresh : old));
        return;
      }
      if (page.next_cursor === null) return;
      cursor = page.next_cursor;
    }
  }

  private move(to: number): void {
    const earlier = this.answers.value.get(this.batches.value[to]?.batch_id ?? '');
    together(() => {
      this.at.value = to;
      this.rejecting.value = false;
      this.rejected.value = earlier?.rejected_index ?? null;
    });
    this.shownAt = this.server.now();
  }

  private ahead(): number {
    return this.batches.value.length - this.at.value - 1;
  }

  private async fetchAhead(): Promise<void> {
    try {
      // The task's standing first: what was answered before this sitting is counted there, the rest here.
      if (!this.standing.value) {
        const standing = await this.server.standing();
        if (!standing) {
          this.ended.value = 'gone';
          return;
        }
        this.standing.value = standing;
      }
      if (this.reachedEnd) await this.lookAgain(this.standing.value);
      while (!this.reachedEnd && this.ahead() < AHEAD) await this.nextPage();
      if (!this.current.value) this.ended.value = this.standing.value.generating ? 'waiting' : 'finished';
    } catch (error) {
      const status = error instanceof Error && 'status' in error ? error.status : 0;
      this.ended.value = status === 404 || status === 403 ? 'gone' : 'away';
    }
  }

  /** Walk the pages once more when more batches are ready than at the last walk. */
  private async lookAgain(before: Standing): Promise<void> {
    const standing = await this.server.standing();
    if (!standing) return;
    // What was answered since the sitting began is counted here.
    this.standing.value = { ...standing, mine: before.mine };
    if (standing.ready === before.ready) return;
    this.cursor = null;
    this.reachedEnd = false;
  }

  private async nextPage(): Promise<void> {
    const page = await this.server.page(this.cursor);
    const fresh = page.items.filter((item) => item.my_annotation == null && !this.seen.has(item.batch_id));
    for (const item of fresh) this.seen.add(item.batch_id);
    const wasEmpty = !this.current.value;
    this.batches.value = [...this.batches.value, ...fresh];
    if (wasEmpty && this.current.value) this.shownAt = this.server.now();
    this.cursor = page.next_cursor;
    this.reachedEnd = page.next_cursor === null;
  }
}
