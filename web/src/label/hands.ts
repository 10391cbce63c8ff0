/** What fingers do on the stage: they carry the slides, name pictures, and come closer. It comes after the first paint. */
import { Gestures } from '../engine/gestures.ts';
import type { Zoom } from '../engine/zoom.ts';
import { pulse } from './comfort.ts';
import type { Sitting } from './types.ts';

/** Beyond this the stored previews are no longer sharp enough: the pictures as they were made are fetched. */
const CLOSE = 1.2;
const SLIDE_MS = 160;

export function follow(
  sitting: Sitting,
  stage: HTMLElement,
  strip: HTMLElement,
  close: { value: string | null },
): Zoom {
  const belt = new Belt(strip);
  const place = (element: Element) => Number(element.closest<HTMLElement>('[data-place]')?.dataset.place ?? NaN);
  return new Gestures(stage, {
    onDrag: (dx) => belt.drag(hasNext(sitting, dx) ? dx : dx / 4),
    onSwipe: (direction) => {
      if (!hasNext(sitting, -direction)) return;
      if (sitting.mode.value === 'single') sitting.look(sitting.place.value + direction);
      else sitting.go(direction);
      belt.enter(direction);
    },
    onTouch: (isDown) => sitting.touch(isDown),
    onTap: (element, stamp) => {
      if (place(element) >= 0) sitting.tap(place(element), stamp);
    },
    onDouble: () => sitting.untap(),
    onLongPress: (element) => {
      if (place(element) < 0) return;
      sitting.reject(place(element));
      pulse();
    },
    onView: ({ z }) => {
      if (z > CLOSE) close.value = sitting.current.value?.batch_id ?? null;
    },
  });
}

/** The finger goes right (dx > 0): to the one before. */
function hasNext(sitting: Sitting, dx: number): boolean {
  const step = dx > 0 ? -1 : 1;
  if (sitting.mode.value === 'grid') return sitting.batches.value[sitting.at.value + step] !== undefined;
  return sitting.current.value?.slot_order[sitting.place.value + step] !== undefined;
}

/** Carries the slides under the finger, and to their place when it lets go. */
class Belt {
  private readonly strip: HTMLElement;
  private dx = 0;
  private ride: Animation | null = null;

  constructor(strip: HTMLElement) {
    this.strip = strip;
  }

  drag(dx: number): void {
    this.ride?.cancel();
    this.strip.style.transform = dx === 0 ? '' : `translateX(${dx}px)`;
    if (dx === 0) this.roll(this.dx);
    this.dx = dx || this.dx;
  }

  /** The slides have moved on by one: begin where the finger left them. */
  enter(direction: 1 | -1): void {
    this.roll(this.dx + direction * this.strip.clientWidth);
  }

  private roll(from: number): void {
    this.ride?.cancel();
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    const frames = [{ transform: `translateX(${from}px)` }, { transform: 'none' }];
    this.ride = this.strip.animate(frames, { duration: SLIDE_MS, easing: 'cubic-bezier(.2, .7, .3, 1)' });
  }
}
