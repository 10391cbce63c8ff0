/** How long a batch has been on the screen. By a clock that nobody can set. */

/** A second tap that follows the change of pictures so closely was meant for the batch before. */
const DOUBLE_FIRE_MS = 150;

export class Stopwatch {
  private readonly now: () => number;
  private since = 0;
  private isPainted = false;

  constructor(now: () => number) {
    this.now = now;
  }

  /** Another batch stands there: about to be painted. */
  restart(): void {
    this.since = this.now();
    this.isPainted = false;
  }

  /** It is on the screen: time runs from the first time that this is said. */
  painted(): void {
    if (!this.isPainted) this.since = this.now();
    this.isPainted = true;
  }

  at(stamp: number): number {
    return stamp - this.since;
  }

  isEarly(stamp: number): boolean {
    return this.at(stamp) < DOUBLE_FIRE_MS;
  }
}
