/** A sitting in a browser: wires the parts that know no browser to clocks, storage, network and the page's life. */
import type { Sitting } from './types.ts';

export interface OpenSitting {
  readonly sitting: Sitting;
  /** Stops timers and listeners; gives nothing back (that is `sitting.leave`). */
  close(): void;
}

export type OpenSittingFor = (taskId: string, userId: string) => OpenSitting;
