/** Small pictures of what lies around: batches, or the candidates of one batch. It follows the stage a frame later. */
import { useComputed, type ReadonlySignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Line, LINES } from '../ui/Line.tsx';
import { letter } from './letters.ts';
import type { Batch, Sitting } from './types.ts';

/** To either side: more than a wide desk shows. */
const AROUND = 18;
/** One of them with its gap, as in label.css. */
const STEP = 50;

interface RailProps {
  sitting: Sitting;
  settled: ReadonlySignal<number>;
  /** A frame later than the pictures, too. */
  answers: Sitting['answers'];
}

export function Rail({ sitting, settled, answers }: RailProps) {
  const single = sitting.mode.value === 'single';
  return (
    <div class="rail-row">
      <button class="button quiet square mode" aria-keyshortcuts="G" onClick={() => sitting.toggleMode()}>
        <Line path={single ? LINES.grid : LINES.single} size={22} />
        <span class="unseen">{single ? 'All pictures' : 'One picture at a time'}</span>
      </button>
      {single ? <Candidates sitting={sitting} /> : <Batches sitting={sitting} settled={settled} answers={answers} />}
    </div>
  );
}

function Batches({ sitting, settled, answers }: RailProps) {
  const batches = sitting.batches.value;
  const at = settled.value;
  const first = Math.max(0, at - AROUND);
  return (
    <Belt label="Batches" count={batches.length} at={at}>
      {batches.slice(first, at + AROUND + 1).map((batch, step) => (
        <BatchButton key={batch.batch_id} {...{ sitting, batch, settled, answers }} index={first + step} />
      ))}
    </Belt>
  );
}

function BatchButton(props: RailProps & { batch: Batch; index: number }) {
  const { sitting, batch, index, settled, answers } = props;
  const isCurrent = useComputed(() => settled.value === index);
  const answered = useComputed(() => answers.value.has(batch.batch_id));
  // No picture is fetched for the rail: it shows those that are here.
  const here = useComputed(() => isCurrent.value || answered.value || sitting.isHere(batch, 0, 'thumbnails'));
  const seen = useRef(false);
  seen.current ||= here.value;
  return (
    <button
      class="rail-item"
      style={{ '--index': index }}
      aria-label={useComputed(() => `Batch ${sitting.positionOf(index)}${answered.value ? ', answered' : ''}`)}
      aria-current={useComputed(() => (isCurrent.value ? 'true' : undefined))}
      // One stop for the keyboard: the arrows go from batch to batch.
      tabIndex={useComputed(() => (isCurrent.value ? 0 : -1))}
      data-done={answered}
      onClick={() => sitting.show(index)}
    >
      {seen.current && <img src={sitting.picture(batch, 0, 'thumbnails')} alt="" decoding="async" draggable={false} />}
    </button>
  );
}

function Candidates({ sitting }: { sitting: Sitting }) {
  const batch = sitting.current.value;
  return (
    <Belt label="Pictures of this batch" count={batch?.slot_order.length ?? 0} at={sitting.place.value}>
      {batch?.slot_order.map((_, place) => (
        <CandidateButton key={`${batch.batch_id} ${place}`} sitting={sitting} batch={batch} place={place} />
      ))}
    </Belt>
  );
}

function CandidateButton({ sitting, batch, place }: { sitting: Sitting; batch: Batch; place: number }) {
  const mark = useComputed(() =>
    sitting.rejected.value === place ? 'rejected' : sitting.chosen.value === place ? 'chosen' : undefined,
  );
  return (
    <button
      class="rail-item"
      style={{ '--index': place }}
      aria-label={`Picture ${letter(place)}`}
      aria-current={useComputed(() => (sitting.place.value === place ? 'true' : undefined))}
      data-mark={mark}
      onClick={() => sitting.look(place)}
    >
      <img src={sitting.picture(batch, place, 'thumbnails')} alt="" decoding="async" draggable={false} />
      <b aria-hidden="true">{letter(place)}</b>
    </button>
  );
}

interface BeltProps {
  label: string;
  count: number;
  at: number;
  children: preact.ComponentChildren;
}

/** Every item has its place for good, so that none moves when others come and go; the belt rolls under the window. */
function Belt({ label, count, at, children }: BeltProps) {
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    const { current } = nav;
    if (!current) return;
    // Across on most screens, down on a phone that lies on its side: the other one has nothing to scroll.
    current.scrollLeft = (at + 0.5) * STEP - current.clientWidth / 2;
    current.scrollTop = (at + 0.5) * STEP - current.clientHeight / 2;
  }, [at, count > 0]);
  return (
    <nav class="rail" ref={nav} aria-label={label}>
      <div class="belt" style={{ '--count': count }}>
        {children}
      </div>
    </nav>
  );
}
