/** What is marked on the batch shown, in places, and how a person looks at it. */
import { batch as together, signal } from '@preact/signals';
import type { Given } from './types.ts';

/** A second tap may still make it a double tap, which zooms: those come within 250 ms. */
export const GRACE_MS = 260;

export type Later = (run: () => void, ms: number) => () => void;

export class Marks {
  readonly chosen = signal<number | null>(null);
  readonly rejected = signal<number | null>(null);
  /** The next place named is the rejected one. */
  readonly rejecting = signal(false);
  readonly mode = signal<'grid' | 'single'>('grid');
  readonly place = signal(0);
  /** A finger is down: it may be the second one of a double tap, however long it stays. */
  isTouched = false;
  private readonly later: Later;
  private grace: (() => void) | null = null;

  constructor(later: Later) {
    this.later = later;
  }

  /** Another batch stands there, with the answer that it has already. */
  reset(given: Given | undefined): void {
    this.stopGrace();
    together(() => {
      this.chosen.value = given?.chosen ?? null;
      this.rejected.value = given?.rejected ?? null;
      this.rejecting.value = false;
      this.place.value = given?.chosen ?? 0;
    });
  }

  /** Chosen, and `submit` follows unless something else is done first. */
  mark(place: number, submit: () => void): void {
    this.stopGrace();
    this.chosen.value = place;
    this.wait(submit);
  }

  private wait(submit: () => void): void {
    this.grace = this.later(() => {
      if (this.isTouched) return this.wait(submit);
      this.grace = null;
      submit();
    }, GRACE_MS);
  }

  get isInGrace(): boolean {
    return this.grace !== null;
  }

  /** It was no choice after all. */
  unmark(before: Given | undefined): void {
    this.stopGrace();
    this.chosen.value = before?.chosen ?? null;
  }

  /** A place was named while one is to be rejected, or it is the rejected one: that is no choice. */
  takes(place: number): boolean {
    if (!this.rejecting.value && this.rejected.value !== place) return false;
    this.reject(place);
    return true;
  }

  reject(place: number): void {
    this.stopGrace();
    together(() => {
      this.rejected.value = this.rejected.value === place ? null : place;
      if (this.chosen.value === place) this.chosen.value = null;
      this.rejecting.value = false;
    });
  }

  toggleRejecting(): void {
    this.stopGrace();
    this.rejecting.value = !this.rejecting.value;
  }

  stopGrace(): void {
    this.grace?.();
    this.grace = null;
  }
}
