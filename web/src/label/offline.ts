/** The offline mode as a sitting sees it; its code comes when somebody turns it on (keeping.ts). */
import { signal, type Signal } from '@preact/signals';
import type { Size } from '../engine/prefetch.ts';
import type { Keeping } from './keeping.ts';
import type { Batch, Offline } from './types.ts';

/** null: this browser cannot keep pictures. */
export type OpenKeeping = ((state: Signal<Offline>) => Promise<Keeping>) | null;

const OFF = { on: false, ready: 0, wanted: 0, bytes: 0, expected: 0, stopped: null };

export class OfflineMode {
  readonly state: Signal<Offline>;
  private readonly open: OpenKeeping;
  private keeping: Keeping | null = null;

  constructor(open: OpenKeeping) {
    this.open = open;
    this.state = signal({ ...OFF, possible: open !== null });
  }

  /** On, with what lies here from before. */
  async begin(): Promise<void> {
    this.state.value = { ...this.state.value, on: true };
    this.keeping ??= (await this.open?.(this.state)) ?? null;
  }

  async end(): Promise<void> {
    this.state.value = { ...this.state.value, ...OFF };
    await this.keeping?.clear();
    this.keeping = null;
  }

  /** Pictures of these, and of no others. */
  keep(batches: readonly Batch[]): void {
    this.keeping?.keep(batches);
  }

  address(batchId: string, candidate: number, size: Size): string | null {
    return this.keeping?.address(batchId, candidate, size) ?? null;
  }

  get isFetching(): boolean {
    const { on, ready, wanted, stopped } = this.state.value;
    return on && ready < wanted && stopped === null;
  }
}
