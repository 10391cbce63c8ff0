/**
 * The pictures. Three slides are mounted: the batch before, the one shown and the next. A change of batch changes an
 * attribute of each and nothing else; slides are made and dropped one frame later, when the eye has what it wants.
 */
import type { ReadonlySignal, Signal } from '@preact/signals';
import { useComputed, useSignal, useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { sizeFor } from '../engine/prefetch.ts';
import type { Zoom } from '../engine/zoom.ts';
import { useFingers } from './fingers.ts';
import { bestGrid, type Box } from './grid.ts';
import { Tile } from './Tile.tsx';
import type { Batch, Sitting } from './types.ts';

interface StageProps {
  sitting: Sitting;
  /** The batch that has been shown for a frame: what may wait follows it. */
  settled: ReadonlySignal<number>;
  /** Filled here, so that a key can zoom too. */
  zoom: { current: Zoom | null };
}

export function Stage({ sitting, settled, zoom }: StageProps) {
  const stage = useRef<HTMLDivElement>(null);
  const strip = useRef<HTMLDivElement>(null);
  const box = useSignal<Box | null>(null);
  // The batch that somebody looked at closely.
  const close = useSignal<string | null>(null);
  useBox(stage, box);
  useFingers(sitting, stage, strip, zoom, close);
  useFreshView(sitting, zoom, close);
  useSizeOfTiles(sitting, box);
  usePainted(sitting, settled, stage);
  useFocusThatFollows(settled, stage);
  const batches = sitting.batches.value;
  // Whoever goes one batch on changes none of these: nothing is rendered before that is painted.
  const afar = useComputed(() => (Math.abs(sitting.at.value - settled.value) > 1 ? sitting.at.value : null));
  return (
    <div class="stage" ref={stage} data-rejecting={sitting.rejecting} data-mode={sitting.mode}>
      <div class="strip" ref={strip}>
        {box.value &&
          mounted(settled.value, afar.value).map((index) => {
            const batch = batches[index];
            return batch && <Slide key={batch.batch_id} {...{ sitting, settled, batch, index, box, close }} />;
          })}
      </div>
      <Hint sitting={sitting} />
    </div>
  );
}

/** What stood before a change stays until it is over. */
function mounted(settled: number, afar: number | null): number[] {
  const around = [settled - 1, settled, settled + 1];
  return afar === null ? around : [...around, afar];
}

interface SlideProps {
  sitting: Sitting;
  settled: ReadonlySignal<number>;
  batch: Batch;
  index: number;
  box: ReadonlySignal<Box | null>;
  close: ReadonlySignal<string | null>;
}

function Slide({ sitting, settled, batch, index, box, close }: SlideProps) {
  // What lies further back stays where it is, under the one that has just been left: it is taken away a frame later.
  const step = useComputed(() => Math.max(-1, Math.min(2, index - sitting.at.value)));
  const away = useComputed(() => step.value !== 0);
  // What comes next is put up when it is here: what is shown needs the line.
  const here = useComputed(() => step.value <= 0 || (step.value === 1 && sitting.ahead.value));
  const seen = useRef(false);
  seen.current ||= here.value;
  const [width = 1, height = 1] = batch.sizes[0] ?? [];
  const count = batch.slot_order.length;
  const grid = bestGrid(count, box.value as Box, width / height);
  return (
    <div
      class="slide"
      data-batch={batch.batch_id}
      data-step={step}
      data-shown={useComputed(() => (away.value ? undefined : ''))}
      // What is drawn is not touched by it, and the style of everything inside is: it follows a frame later.
      inert={useComputed(() => settled.value !== index)}
      style={{ '--columns': grid.columns, '--width': px(grid.width), '--height': px(grid.height) }}
    >
      {batch.slot_order.map((_, place) => (
        <Tile
          key={place}
          sitting={sitting}
          batch={batch}
          place={place}
          away={away}
          empty={!seen.current}
          close={close}
        />
      ))}
    </div>
  );
}

const px = (length: number) => `${Math.floor(length)}px`;

/** What a tap does, said where it happens: to whom it is new, and whenever it is not the usual thing. */
function Hint({ sitting }: { sitting: Sitting }) {
  const verb = matchMedia('(hover: none)').matches ? 'Tap' : 'Click';
  const words = useComputed(() => {
    if (sitting.rejecting.value) return `${verb} the worst picture`;
    const isNew = sitting.progress.value.mine === 0 && sitting.rejected.value === null;
    return isNew && sitting.chosen.value === null ? `${verb} the best picture` : '';
  });
  return (
    <p class="hint" role="status">
      <span>{words}</span>
    </p>
  );
}

function useBox(stage: { current: HTMLElement | null }, box: { value: Box | null }): void {
  useEffect(() => {
    const watcher = new ResizeObserver(([entry]) => {
      if (entry) box.value = { width: entry.contentRect.width, height: entry.contentRect.height };
    });
    if (stage.current) watcher.observe(stage.current);
    return () => watcher.disconnect();
  }, []);
}

/** Every batch begins whole. In single mode the view stays between its candidates: that is how details are compared. */
function useFreshView(sitting: Sitting, zoom: { current: Zoom | null }, close: Signal<string | null>): void {
  const id = useComputed(() => sitting.current.value?.batch_id);
  useSignalEffect(() => {
    void id.value;
    if ((zoom.current?.view.z ?? 1) !== 1) zoom.current?.reset();
    if (close.peek() !== null) close.value = null;
  });
}

function useSizeOfTiles(sitting: Sitting, box: ReadonlySignal<Box | null>): void {
  useSignalEffect(() => {
    const batch = sitting.current.value;
    if (!box.value || !batch) return;
    const [width = 1, height = 1] = batch.sizes[0] ?? [];
    const count = sitting.mode.value === 'single' ? 1 : batch.slot_order.length;
    const tile = bestGrid(count, box.value, width / height);
    const size = sizeFor(Math.max(tile.width, tile.height) * devicePixelRatio);
    sitting.sharp.value = size;
  });
}

/** The time of an answer runs from when the pictures are there. */
function usePainted(sitting: Sitting, settled: ReadonlySignal<number>, stage: { current: HTMLElement | null }): void {
  useSignalEffect(() => {
    const batch = sitting.current.value;
    if (!batch || settled.value !== sitting.at.value) return;
    const images = [...(stage.current?.querySelectorAll<HTMLImageElement>('[data-shown] img') ?? [])];
    const coming = images.filter((image) => !image.complete).map(arrival);
    void Promise.all(coming).then(() => {
      if (sitting.current.peek() === batch) sitting.painted();
    });
  });
}

/** Who goes through the pictures with the keyboard stays at the same place when another batch comes. */
function useFocusThatFollows(settled: ReadonlySignal<number>, stage: { current: HTMLElement | null }): void {
  const place = useRef<string | undefined>(undefined);
  useEffect(() => {
    const follow = (event: FocusEvent) => {
      // Towards nothing: the slide that held it has gone away under it.
      if (event.type === 'focusin' || event.relatedTarget)
        place.current = (event.target as Element).closest<HTMLElement>('[data-shown] [data-place]')?.dataset.place;
    };
    const stop = new AbortController();
    for (const type of ['focusin', 'focusout'] as const)
      document.addEventListener(type, follow, { signal: stop.signal });
    return () => stop.abort();
  }, []);
  useSignalEffect(() => {
    void settled.value;
    const at = document.activeElement;
    if (place.current === undefined || (at !== document.body && !at?.closest('.slide:not([data-shown])'))) return;
    const tile = stage.current?.querySelector(`[data-shown] [data-place="${place.current}"] button`);
    // The slide takes the focus once it is no longer inert, and that follows `settled` too.
    if (tile instanceof HTMLElement) queueMicrotask(() => tile.focus({ preventScroll: true }));
  });
}

/** Not decode(): that says nothing when the picture is taken away before it has come. */
function arrival(image: HTMLImageElement): Promise<unknown> {
  return new Promise((arrived) => {
    image.addEventListener('load', arrived, { once: true });
    image.addEventListener('error', arrived, { once: true });
  });
}
