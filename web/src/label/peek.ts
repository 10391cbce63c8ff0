/**
 * The batch that came with the page and is nobody's yet: whoever opens the page now sees the same one. What is answered
 * to it waits until the server has said whose it is.
 */
import type { Batch } from './types.ts';

export class Peek {
  private batchId: string | null = null;
  private answer: (() => void) | null = null;

  begin(shown: Batch | undefined): void {
    if (shown?.leased_until === null) this.batchId = shown.batch_id;
  }

  /** Says whether this answer has to wait. */
  holds(batchId: string, answer: () => void): boolean {
    if (batchId !== this.batchId) return false;
    this.answer = answer;
    return true;
  }

  get isHolding(): boolean {
    return this.answer !== null;
  }

  /** It was no answer after all. */
  forget(): void {
    this.answer = null;
  }

  /** The server has said, or is away: the answer goes its way where its batch still stands. */
  decide(shownId: string | undefined): void {
    const answer = shownId === this.batchId ? this.answer : null;
    this.batchId = this.answer = null;
    answer?.();
  }
}
