/** One candidate: its picture in the sizes that were wanted so far, one over the other, its letter and its mark. */
import { useComputed, useSignal, type ReadonlySignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Size } from '../engine/prefetch.ts';
import { letter } from './letters.ts';
import type { Batch, Sitting } from './types.ts';

interface TileProps {
  sitting: Sitting;
  batch: Batch;
  place: number;
  /** The slide is not the one shown. */
  away: ReadonlySignal<boolean>;
  /** No pictures yet. */
  empty: boolean;
  /** The batch that somebody looked at closely. */
  close: ReadonlySignal<string | null>;
}

export function Tile({ sitting, batch, place, away, empty, close }: TileProps) {
  const mark = useComputed(() => markOf(sitting, batch, place, away.value));
  const side = useComputed(() => {
    const shown = away.value || sitting.mode.value === 'grid' ? 0 : sitting.place.value;
    return Math.max(-2, Math.min(2, place - shown));
  });
  const name = useComputed(() => {
    if (sitting.rejecting.value) return `Mark picture ${letter(place)} as worst`;
    const said = { chosen: ', best', rejected: ', worst' } as const;
    return `Choose picture ${letter(place)}${mark.value ? said[mark.value] : ''}`;
  });
  const inSight = useComputed(() => sitting.mode.value === 'grid' || side.value === 0);
  const isClose = useComputed(() => close.value === batch.batch_id && inSight.value);
  const trouble = useTrouble(sitting, batch);
  return (
    <div class="tile" data-tile data-place={place} data-mark={mark} data-side={side}>
      <button
        class="tile-button"
        aria-label={name}
        tabIndex={useComputed(() => (inSight.value ? 0 : -1))}
        // A finger or a mouse was heard by the stage already; this is a key, or a reader's own press.
        onClick={(event) => event.detail === 0 && sitting.choose(place, event.timeStamp)}
      >
        {!empty && <Picture sitting={sitting} batch={batch} place={place} isClose={isClose} trouble={trouble} />}
        <span class="badge" aria-hidden="true">
          {letter(place)}
        </span>
      </button>
      {trouble.state.value !== 'none' && <TroubleNote trouble={trouble} />}
    </div>
  );
}

/** Of the batch shown as things stand now, of another as it was answered. */
function markOf(sitting: Sitting, batch: Batch, place: number, away: boolean): 'chosen' | 'rejected' | undefined {
  const given = away ? sitting.answers.value.get(batch.batch_id) : null;
  const rejected = away ? given?.rejected : sitting.rejected.value;
  const chosen = away ? given?.chosen : sitting.chosen.value;
  return rejected === place ? 'rejected' : chosen === place ? 'chosen' : undefined;
}

interface PictureProps {
  sitting: Sitting;
  batch: Batch;
  place: number;
  isClose: ReadonlySignal<boolean>;
  trouble: Trouble;
}

const LAYERS = ['thumbnails', 'tiles', 'previews', 'fullres'] as const;
const CLASSES = { thumbnails: 'under', tiles: 'sharp', previews: 'sharp', fullres: 'full' } as const;

/** Smaller sizes stay under the larger ones: nothing is taken away before something better is there. */
function Picture({ sitting, batch, place, isClose, trouble }: PictureProps) {
  const wanted = useRef(new Set<Size>(['thumbnails']));
  wanted.current.add(sitting.size.value);
  if (isClose.value) wanted.current.add('fullres');
  const round = trouble.round.value;
  return (
    <span class="picture">
      {LAYERS.filter((size) => wanted.current.has(size)).map((size) => {
        const address = sitting.picture(batch, place, size);
        const watched = size === sitting.size.value || size === 'fullres';
        return (
          <img
            key={`${round} ${address}`}
            class={CLASSES[size]}
            src={address}
            alt=""
            decoding="async"
            draggable={false}
            onError={watched ? trouble.onError : undefined}
            onLoad={watched ? trouble.onLoad : undefined}
          />
        );
      })}
    </span>
  );
}

/** How often a picture was asked for anew, and whether that helped. */
interface Trouble {
  readonly round: ReadonlySignal<number>;
  readonly state: ReadonlySignal<'none' | 'broken' | 'missing'>;
  again(): Promise<void>;
  onError(): void;
  onLoad(): void;
}

/** An address that no longer works is renewed once without a word; then the person decides. */
function useTrouble(sitting: Sitting, batch: Batch): Trouble {
  const round = useSignal(0);
  const state = useSignal<'none' | 'broken' | 'missing'>('none');
  const again = async () => {
    await sitting.renew(batch.batch_id);
    round.value += 1;
  };
  return {
    round,
    state,
    again,
    onError() {
      if (round.value === 0) void again();
      else state.value = round.value === 1 ? 'broken' : 'missing';
    },
    onLoad() {
      state.value = 'none';
    },
  };
}

function TroubleNote({ trouble }: { trouble: Trouble }) {
  return (
    <span class="tile-broken" data-plain>
      {trouble.state.value === 'missing' ? 'Still not there' : 'Not loaded'}
      <button class="button" onClick={() => void trouble.again()}>
        Load again
      </button>
    </span>
  );
}
