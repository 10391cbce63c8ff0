/** One candidate: its picture in the sizes that were wanted so far, one over the other, its letter and its mark. */
import { useComputed, useSignal, type ReadonlySignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Size } from '../engine/prefetch.ts';
import { Line, LINES } from '../ui/Line.tsx';
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
      </button>
      <span class="badge" aria-hidden="true">
        {letter(place)}
        {mark.value && <Sign mark={mark.value} />}
      </span>
      {trouble.round.value > 0 && trouble.missing.value.size > 0 && <TroubleNote trouble={trouble} />}
    </div>
  );
}

/** A sign and a word beside the line round the tile: no colour has to be told from another. */
function Sign({ mark }: { mark: 'chosen' | 'rejected' }) {
  return (
    <>
      <Line path={mark === 'chosen' ? LINES.done : LINES.reject} size={16} />
      {mark === 'chosen' ? 'Best' : 'Worst'}
    </>
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
      {LAYERS.filter((size) => wanted.current.has(size) && !trouble.missing.value.has(size)).map((size) => {
        const address = sitting.picture(batch, place, size);
        return (
          <img
            key={`${round} ${address}`}
            class={CLASSES[size]}
            src={address}
            alt=""
            decoding="async"
            draggable={false}
            onError={() => trouble.onError(size)}
          />
        );
      })}
    </span>
  );
}

/** Which sizes of a picture did not come, and how often they were asked for anew. */
interface Trouble {
  readonly missing: ReadonlySignal<ReadonlySet<Size>>;
  readonly round: ReadonlySignal<number>;
  again(): Promise<void>;
  onError(size: Size): void;
}

/** An address that no longer works is renewed once without a word; then the person decides. */
function useTrouble(sitting: Sitting, batch: Batch): Trouble {
  const missing = useSignal<ReadonlySet<Size>>(new Set());
  const round = useSignal(0);
  const again = async () => {
    await sitting.renew(batch.batch_id).catch(() => {});
    missing.value = new Set();
    round.value += 1;
  };
  return {
    missing,
    round,
    again,
    onError(size) {
      const isFirst = missing.value.size === 0;
      missing.value = new Set(missing.value).add(size);
      if (round.value === 0 && isFirst) void again();
    },
  };
}

function TroubleNote({ trouble }: { trouble: Trouble }) {
  return (
    <span class="tile-broken" data-plain>
      <span>{trouble.round.value > 1 ? 'Still not there' : 'Not loaded'}</span>
      <button class="button" onClick={() => void trouble.again()}>
        Load again
      </button>
    </span>
  );
}
