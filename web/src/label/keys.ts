/** A desk has keys for everything: nobody needs the mouse to label. */
import type { Zoom } from '../engine/zoom.ts';
import type { SheetName } from './Screen.tsx';
import type { Sitting } from './types.ts';

export interface Keyboard {
  sitting: Sitting;
  zoom: { current: Zoom | null };
  open: (sheet: SheetName) => void;
}

/** Not while somebody writes, holds a modifier or reads a sheet, and once for a key that is held down. */
export function onKey(keyboard: Keyboard, event: KeyboardEvent): void {
  if (event.metaKey || event.ctrlKey || event.altKey || event.repeat || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.closest('input, textarea, select, [contenteditable]') || document.querySelector('dialog[open]')) return;
  const act = meaning(keyboard, event);
  if (!act) return;
  event.preventDefault();
  act();
}

function meaning({ sitting, zoom, open }: Keyboard, { key, timeStamp }: KeyboardEvent): (() => void) | undefined {
  if (key === '?') return () => open('keys');
  if (sitting.phase.value !== 'work') return key === 'z' ? () => sitting.undo() : undefined;
  if (/^[1-9]$/.test(key)) return () => sitting.choose(Number(key) - 1, timeStamp);
  const meanings: Record<string, () => void> = {
    x: () => sitting.toggleRejecting(),
    t: () => sitting.tie(timeStamp),
    s: () => sitting.spam(timeStamp),
    k: () => sitting.skip(timeStamp),
    z: () => sitting.undo(),
    f: () => zoom.current?.toggle(),
    g: () => sitting.toggleMode(),
    i: () => open('about'),
    arrowleft: () => step(sitting, -1),
    arrowright: () => step(sitting, 1),
    arrowup: () => sitting.go(-1),
    arrowdown: () => sitting.go(1),
  };
  return meanings[key.toLowerCase()];
}

/** Sideways is what a swipe is: between batches, or between the candidates of one. */
function step(sitting: Sitting, direction: 1 | -1): void {
  if (sitting.mode.value === 'grid') return sitting.go(direction);
  const place = sitting.place.value + direction;
  if (sitting.current.value?.slot_order[place] !== undefined) sitting.look(place);
}
