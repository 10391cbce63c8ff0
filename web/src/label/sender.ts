/** Sends answers one by one in the order they were given, and keeps those that cannot be sent yet. */
import { signal } from '@preact/signals';

export interface Answer {
  readonly task_id: string;
  readonly batch_id: string;
  readonly kind: 'choice' | 'tie' | 'spam' | 'skip';
  readonly chosen_index: number | null;
  readonly rejected_index: number | null;
  readonly spam: boolean;
  /** The server stores an answer once, however often it is sent. */
  readonly client_id: string;
  readonly elapsed_ms: number;
}

/** stored: over and done. later: try again. signed out: try again after a sign-in. Else why the server refused. */
export type Outcome = 'stored' | 'later' | 'signed out' | { refused: string };

const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

export class Sender {
  readonly unsent = signal(0);
  /** Something is in the way: what is unsent will not be gone in a moment. */
  readonly held = signal(false);
  readonly refused = signal<string | null>(null);
  private readonly queue: Answer[] = [];
  private readonly post: (answer: Answer) => Promise<Outcome>;
  private readonly later: (run: () => void, ms: number) => unknown;
  private wait = FIRST_WAIT;
  private sending = false;
  /** Counts the waits, so that one that was overtaken by `flush` does nothing. */
  private round = 0;

  constructor(
    post: (answer: Answer) => Promise<Outcome>,
    later: (run: () => void, ms: number) => unknown = (run, ms) => setTimeout(run, ms),
  ) {
    this.post = post;
    this.later = later;
  }

  put(answer: Answer): void {
    this.queue.push(answer);
    this.unsent.value = this.queue.length;
    // While a wait is running the new one queues up behind it: a server that is down is not hammered.
    if (this.queue.length === 1) void this.flush();
  }

  /** Try now, whatever the wait: the network is back, or the person signed in again. */
  async flush(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    this.round += 1;
    try {
      await this.drain();
    } finally {
      this.sending = false;
    }
  }

  private async drain(): Promise<void> {
    for (let answer = this.queue[0]; answer; answer = this.queue[0]) {
      const outcome = await this.post(answer);
      this.held.value = outcome === 'later' || outcome === 'signed out';
      if (outcome === 'signed out') return;
      if (outcome === 'later') return this.tryAgain();
      if (outcome !== 'stored') this.refused.value = outcome.refused;
      this.wait = FIRST_WAIT;
      this.queue.shift();
      this.unsent.value = this.queue.length;
    }
  }

  private tryAgain(): void {
    const round = this.round;
    this.later(() => {
      if (round === this.round) void this.flush();
    }, this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }
}
