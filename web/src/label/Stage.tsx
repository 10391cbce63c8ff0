/** The pictures. The next batch is mounted too, unseen, so that a change of batch is a change of one attribute. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../ui/Icon';
import { bestGrid, type Box } from './grid';
import type { Batch, LabelSession } from './session';

export function Stage({ session }: { session: LabelSession }) {
  const stage = useRef<HTMLDivElement>(null);
  const box = useSignal<Box | null>(null);
  useEffect(() => {
    const watcher = new ResizeObserver(([entry]) => {
      if (entry) box.value = { width: entry.contentRect.width, height: entry.contentRect.height };
    });
    if (stage.current) watcher.observe(stage.current);
    return () => watcher.disconnect();
  }, []);
  const at = session.at.value;
  return (
    <div class="stage" ref={stage} data-rejecting={session.rejecting.value || undefined}>
      {box.value &&
        [at, at + 1].map((index) => {
          const batch = session.batches.value[index];
          return (
            batch && (
              <Slide key={batch.batch_id} session={session} batch={batch} box={box.value as Box} shown={index === at} />
            )
          );
        })}
      <Hint session={session} />
    </div>
  );
}

interface SlideProps {
  session: LabelSession;
  batch: Batch;
  box: Box;
  shown: boolean;
}

function Slide({ session, batch, box, shown }: SlideProps) {
  const [width = 1, height = 1] = batch.sizes[0] ?? [];
  const grid = bestGrid(batch.thumbnails.length, box, width / height);
  const answered = session.answers.value.get(batch.batch_id);
  return (
    <div
      class="slide"
      data-shown={shown || undefined}
      data-batch={batch.batch_id}
      inert={!shown}
      style={{ '--columns': grid.columns, '--width': px(grid.width), '--height': px(grid.height) }}
    >
      {batch.thumbnails.map((_, index) => {
        const rejected = shown && session.rejected.value === index;
        const chosen = !rejected && answered?.chosen_index === index;
        return (
          <Tile
            key={index}
            session={session}
            batch={batch}
            index={index}
            mark={rejected ? 'rejected' : chosen ? 'chosen' : null}
          />
        );
      })}
    </div>
  );
}

const px = (length: number) => `${Math.floor(length)}px`;

interface TileProps {
  session: LabelSession;
  batch: Batch;
  index: number;
  mark: 'chosen' | 'rejected' | null;
}

function Tile({ session, batch, index, mark }: TileProps) {
  // The address that failed, not a flag to be reset when another comes: an error may be faster than any effect.
  const [failed, setFailed] = useState<string | null>(null);
  const verb = session.rejecting.value ? 'Reject' : 'Choose';
  const preview = batch.previews[index] ?? '';
  const broken = failed === preview;
  return (
    <div class="tile" data-mark={mark ?? undefined}>
      <button
        class="tile-button"
        aria-label={`${verb} picture ${index + 1}${mark ? `, ${mark}` : ''}`}
        onClick={() => session.name(index)}
      >
        <img class="under" src={batch.thumbnails[index]} alt="" decoding="async" draggable={false} />
        {!broken && <img src={preview} alt="" decoding="async" draggable={false} onError={() => setFailed(preview)} />}
        <span class="tile-label" aria-hidden="true">
          {index + 1}
          {mark === 'chosen' && (
            <>
              <Icon name="done" size={14} /> Chosen
            </>
          )}
          {mark === 'rejected' && (
            <>
              <Icon name="reject" size={14} /> Rejected
            </>
          )}
        </span>
      </button>
      {broken && (
        <span class="tile-broken">
          Not loaded
          <button class="button" onClick={() => void session.renew(batch.batch_id).then(() => setFailed(null))}>
            Load again
          </button>
        </span>
      )}
    </div>
  );
}

/** What a tap does, said where it happens, until the first answer and whenever it is not the usual thing. */
function Hint({ session }: { session: LabelSession }) {
  const rejecting = session.rejecting.value;
  const first = session.answers.value.size === 0 && session.rejected.value === null;
  const tap = matchMedia('(hover: none)').matches ? 'Tap' : 'Click or press the number of';
  const better = session.current.value?.thumbnails.length === 1 ? 'picture to choose it' : 'better picture';
  const words = rejecting ? `${tap} the picture to reject` : first ? `${tap} the ${better}` : '';
  return (
    <p class="hint" role="status">
      {words && <span>{words}</span>}
    </p>
  );
}
