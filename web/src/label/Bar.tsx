/** Where the thumb is: a letter submits at once. Words under the icons; keys where there is a keyboard. */
import { useComputed, type ReadonlySignal } from '@preact/signals';
import { Line, LINES } from '../ui/Line.tsx';
import { letter } from './letters.ts';
import type { Sitting } from './types.ts';

/** So many letters stand in a row of a phone and are still 44 px wide. */
const ACROSS = 7;

export function Bar({ sitting }: { sitting: Sitting }) {
  return (
    <div class="bar" role="group" aria-label="Answers">
      <Letters sitting={sitting} />
      <div class="actions">
        <Action icon="undo" shortcut="Z" onClick={() => sitting.undo()} enabled={sitting.undoable}>
          Undo
        </Action>
        <Action icon="reject" shortcut="X" onClick={() => sitting.toggleRejecting()} pressed={sitting.rejecting}>
          Worst
        </Action>
        <Action icon="tie" shortcut="T" onClick={(event) => sitting.tie(event.timeStamp)}>
          Tie
        </Action>
        <Action icon="spam" shortcut="S" onClick={(event) => sitting.spam(event.timeStamp)}>
          Spam
        </Action>
        <Action icon="skip" shortcut="K" onClick={(event) => sitting.skip(event.timeStamp)}>
          Skip
        </Action>
      </div>
    </div>
  );
}

/** As many as the largest batch here has: one with a failed image less moves nothing. */
function Letters({ sitting }: { sitting: Sitting }) {
  const most = useComputed(() => Math.max(0, ...sitting.batches.value.map((batch) => batch.slot_order.length)));
  const count = useComputed(() => sitting.current.value?.slot_order.length ?? 0);
  const rows = Math.ceil(most.value / ACROSS);
  return (
    <div
      class="letters"
      data-rows={rows}
      data-rejecting={sitting.rejecting}
      style={{ '--across': Math.ceil(most.value / Math.max(rows, 1)) }}
    >
      {Array.from({ length: most.value }, (_, place) => (
        <LetterButton key={place} sitting={sitting} place={place} count={count} />
      ))}
    </div>
  );
}

function LetterButton(props: { sitting: Sitting; place: number; count: ReadonlySignal<number> }) {
  const { sitting, place, count } = props;
  const name = useComputed(() =>
    sitting.rejecting.value ? `Mark ${letter(place)} as worst` : `Choose ${letter(place)}`,
  );
  const mark = useComputed(() =>
    sitting.rejected.value === place ? 'rejected' : sitting.chosen.value === place ? 'chosen' : undefined,
  );
  return (
    <button
      class="letter"
      aria-label={name}
      aria-keyshortcuts={place < 9 ? String(place + 1) : undefined}
      data-key={place < 9 ? place + 1 : undefined}
      data-mark={mark}
      disabled={useComputed(() => place >= count.value)}
      onClick={(event) => sitting.choose(place, event.timeStamp)}
    >
      {letter(place)}
    </button>
  );
}

interface ActionProps {
  icon: keyof typeof LINES;
  shortcut: string;
  children: string;
  onClick: (event: MouseEvent) => void;
  pressed?: ReadonlySignal<boolean>;
  enabled?: ReadonlySignal<boolean>;
}

function Action({ icon, shortcut, children, onClick, pressed, enabled }: ActionProps) {
  return (
    <button
      class={`action ${icon}`}
      onClick={onClick}
      aria-pressed={pressed}
      disabled={useComputed(() => enabled?.value === false)}
      aria-keyshortcuts={shortcut}
      data-key={shortcut}
    >
      <Line path={LINES[icon]} size={20} />
      <span>{children}</span>
    </button>
  );
}
