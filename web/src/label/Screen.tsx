/** The labelling screen: a prompt, its pictures, what lies around, and the answers where the thumb is. */
import { useComputed, useSignal, useSignalEffect, type ReadonlySignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Zoom } from '../engine/zoom.ts';
import { lazy } from '../ui/lazy';
import { Bar } from './Bar.tsx';
import { pulse, stayAwake, wearTheme } from './comfort.ts';
import { onKey } from './keys.ts';
import { Rail } from './Rail.tsx';
import { Stage } from './Stage.tsx';
import { Top } from './Top.tsx';
import type { Sitting } from './types.ts';
import './label.css';
import './stage.css';
import './bar.css';
import './wide.css';

export type SheetName = 'about' | 'settings' | 'keys';

/** What is not needed to show the first batch comes when the page is idle. */
const fetchAsides = () => import('./asides.ts');
const Sheets = lazy(() => fetchAsides().then((chunk) => chunk.Sheets));
const Rest = lazy(() => fetchAsides().then((chunk) => chunk.Rest));
const Toasts = lazy(() => fetchAsides().then((chunk) => chunk.Toasts));

export function Screen({ sitting }: { sitting: Sitting }) {
  const zoom = useRef<Zoom | null>(null);
  const sheet = useSignal<SheetName | null>(null);
  const open = (name: SheetName) => (sheet.value = name);
  // A closed sheet tells of it a moment later: by then another one may stand in its place.
  const from = (shown: SheetName) => (next: SheetName | null) => {
    if (sheet.value === shown) sheet.value = next;
  };
  const settled = useSettled(sitting.at);
  const answers = useSettled(sitting.answers);
  const progress = useSettled(sitting.progress);
  const working = useComputed(() => sitting.phase.value === 'work').value;
  useEffect(() => stayAwake(), []);
  useEffect(() => wearTheme(), []);
  useEffect(() => whenIdle(() => void fetchAsides().catch(() => {})), []);
  useKeys(sitting, zoom, open);
  usePulse(sitting);
  return (
    <main class="labelling" data-phase={sitting.phase} data-mode={sitting.mode}>
      <h1 class="unseen">Which picture is best?</h1>
      <Top sitting={sitting} progress={progress} open={open} />
      {working ? (
        <>
          <Stage sitting={sitting} settled={settled} zoom={zoom} />
          <Rail sitting={sitting} settled={settled} answers={answers} />
          <Bar sitting={sitting} />
        </>
      ) : (
        <Rest sitting={sitting} />
      )}
      <div class="toasts">
        {useComputed(() => sitting.held.value || sitting.refusals.value.length > 0).value && (
          <Toasts sitting={sitting} />
        )}
      </div>
      {sheet.value && <Sheets key={sheet.value} sitting={sitting} name={sheet.value} open={from(sheet.value)} />}
    </main>
  );
}

/** The same value one frame later: what follows it never delays the picture. */
function useSettled<T>(source: ReadonlySignal<T>): ReadonlySignal<T> {
  const settled = useSignal(source.peek());
  useSignalEffect(() => {
    const value = source.value;
    const frame = requestAnimationFrame(() => setTimeout(() => (settled.value = value)));
    return () => cancelAnimationFrame(frame);
  });
  return settled;
}

function useKeys(sitting: Sitting, zoom: { current: Zoom | null }, open: (sheet: SheetName) => void): void {
  useEffect(() => {
    const stop = new AbortController();
    addEventListener('keydown', (event) => onKey({ sitting, zoom, open }, event), { signal: stop.signal });
    return () => stop.abort();
  }, []);
}

/** Every answer is felt. */
function usePulse(sitting: Sitting): void {
  const count = useComputed(() => sitting.answers.value.size);
  const before = useRef(count.peek());
  useSignalEffect(() => {
    if (count.value > before.current) pulse();
    before.current = count.value;
  });
}

/** Safari has no requestIdleCallback. */
function whenIdle(act: () => void): () => void {
  if ('requestIdleCallback' in window) {
    const handle = requestIdleCallback(act);
    return () => cancelIdleCallback(handle);
  }
  const timer = setTimeout(act, 2_000);
  return () => clearTimeout(timer);
}
