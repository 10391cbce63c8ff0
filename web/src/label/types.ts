/** What the labelling screen shows and does. The sitting (session.ts) is one of these; the screen knows no more of it. */
import type { ReadonlySignal, Signal } from '@preact/signals';
import type { Size } from '../engine/prefetch.ts';

export type { Size };

/** A batch as it was served. The arrays go by candidate; `slot_order[place]` is the candidate that stands there. */
export interface Batch {
  readonly batch_id: string;
  readonly prompt: string;
  /** Both empty where the task is blind. */
  readonly seeds: readonly number[];
  readonly batch_indexes: readonly number[];
  readonly sizes: readonly (readonly number[])[];
  readonly thumbnails: readonly string[];
  readonly tiles: readonly string[];
  readonly previews: readonly string[];
  readonly fullres: readonly string[];
  readonly generation_ids: readonly string[];
  readonly slot_order: readonly number[];
  /** null: only shown to this person so far, and perhaps to others. */
  readonly leased_until?: string | null;
}

export type Kind = 'choice' | 'tie' | 'spam' | 'skip';

/** An answer of this sitting, in places. */
export interface Given {
  readonly kind: Kind;
  readonly chosen: number | null;
  readonly rejected: number | null;
  readonly client_id: string;
}

/**
 * waiting: nothing now, more will come. finished: nothing is left, and this person had a part in it.
 * nothing: nothing is left, or the task has not begun, and this person did nothing here. gone: no such task.
 * away: every batch that is here is answered and the server is out of reach. ended: nobody is signed in any more.
 */
export type Phase = 'loading' | 'work' | 'waiting' | 'finished' | 'nothing' | 'gone' | 'away' | 'ended';

/** position: of the batch shown. mine: answered by this person in all. total: what one person can label at most. */
export interface Progress {
  readonly position: number;
  readonly total: number;
  readonly mine: number;
}

/** An answer that the server did not take, and why, in a sentence. */
export interface Refusal {
  readonly client_id: string;
  readonly batch_id: string | null;
  readonly words: string;
}

/** What the person's variant of the task's A/B test changes on the screen. */
export interface Variant {
  readonly key: string;
  readonly prefetch_batches: number | null;
  readonly image_size: number | null;
  readonly cdn_url: string | null;
}

/** The offline mode: how many batches are wanted, how many of them lie here with all their pictures. */
export interface Offline {
  /** A service worker and a cache are there: not on plain http. */
  readonly possible: boolean;
  readonly on: boolean;
  readonly ready: number;
  readonly wanted: number;
  /** Bytes of pictures here, and what all will have by the average so far (0: not known yet). */
  readonly bytes: number;
  readonly expected: number;
  /** Why it stopped before all was here. */
  readonly stopped: 'no room' | 'away' | null;
}

export interface Sitting {
  readonly taskId: string;
  readonly title: ReadonlySignal<string>;
  readonly batches: ReadonlySignal<readonly Batch[]>;
  readonly at: ReadonlySignal<number>;
  readonly current: ReadonlySignal<Batch | undefined>;
  /** Every picture of the next batch is here, in the size of the tiles. */
  readonly ahead: ReadonlySignal<boolean>;
  readonly phase: ReadonlySignal<Phase>;
  readonly progress: ReadonlySignal<Progress>;
  readonly blind: ReadonlySignal<boolean>;
  /** Batches that are still being made. */
  readonly coming: ReadonlySignal<number>;

  readonly mode: ReadonlySignal<'grid' | 'single'>;
  /** Which candidate the single mode shows. */
  readonly place: ReadonlySignal<number>;
  /** Marked by a tap and about to be submitted; on a batch that was answered before: what was chosen. */
  readonly chosen: ReadonlySignal<number | null>;
  /** The next place named is the rejected one. */
  readonly rejecting: ReadonlySignal<boolean>;
  readonly rejected: ReadonlySignal<number | null>;
  readonly answers: ReadonlySignal<ReadonlyMap<string, Given>>;
  /** There is something that undo takes back. */
  readonly undoable: ReadonlySignal<boolean>;

  /** Answers of this person that the server does not have yet. */
  readonly unsent: ReadonlySignal<number>;
  /** Something is in the way of sending: what is unsent will not be gone in a moment. */
  readonly held: ReadonlySignal<boolean>;
  /** False where the browser stores nothing (private mode): unsent answers live only in this page. */
  readonly lasting: ReadonlySignal<boolean>;
  readonly refusals: Signal<readonly Refusal[]>;
  readonly variant: ReadonlySignal<Variant | null>;
  readonly offline: ReadonlySignal<Offline>;
  /** Which size stands in a tile: what a variant says, else what is sharp. */
  readonly size: ReadonlySignal<Size>;
  /** The stage sets it by `sizeFor` (engine/prefetch.ts) from the tile's device pixels. */
  readonly sharp: Signal<Size>;

  // `stamp` is the event's timeStamp: when the finger touched, not when the page came round to hear of it.
  /** Bar button or number key: submits at once (names the rejected one while `rejecting`). */
  choose(place: number, stamp?: number): void;
  /** Tap on a picture: marks, and submits after 260 ms unless `untap` is called. */
  tap(place: number, stamp?: number): void;
  untap(): void;
  /** A finger is down on the pictures, or up again: what it means comes before what a tap has marked. */
  touch(isDown: boolean): void;
  /** Long press: marks as the rejected one, or takes that back. */
  reject(place: number): void;
  toggleRejecting(): void;
  tie(stamp?: number): void;
  spam(stamp?: number): void;
  skip(stamp?: number): void;
  undo(): void;
  /** To another batch without an answer. */
  go(step: 1 | -1): void;
  show(index: number): void;
  /** In single mode to another candidate. */
  look(place: number): void;
  toggleMode(): void;
  /** The batch shown is on the screen now: time runs from here. */
  painted(): void;

  /** Which one a batch of the list is of all that the person labels in the task, from 1. */
  positionOf(index: number): number;
  /** The address of a picture; the same for as long as it works. */
  picture(batch: Batch, place: number, size: Size): string;
  /** Fetched ahead and decoded: an <img> with its address shows it at once and asks nobody. */
  isHere(batch: Batch, place: number, size: Size): boolean;
  /** New addresses for the pictures of a batch whose old ones do not work; those that were loaded keep theirs. */
  renew(batchId: string): Promise<void>;

  /** Begin, go on after a sign-in, or look again now ("Try again"). Safe at any time. */
  load(): Promise<void>;
  keepOffline(on: boolean): Promise<void>;
  /** The person goes elsewhere in the app: what is held goes back to the others. */
  leave(): void;
}
