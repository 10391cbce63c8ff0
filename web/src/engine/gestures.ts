/** The fingers of zoom.ts: what they mean, and what becomes of the view. */
import type { View, ZoomOptions } from './zoom.ts';

export const MAX_ZOOM = 6;
/** The browser's own: a swipe from there goes back in its history. */
export const EDGE = 24;
const WHOLE: View = { z: 1, x: 0, y: 0 };
/** What a double tap zooms to. */
const CLOSE = 2.5;
/** A finger that rests still moves a little. */
const SLOP = 8;
const DOUBLE_MS = 250;
const DOUBLE_PX = 30;
/** As long as Android's and iOS's own. */
const LONG_PRESS_MS = 500;
const SWIPE_SHARE = 0.22;
const SWIPE_PX = 24;
const SWIPE_PX_PER_MS = 0.35;
/** How much more sideways than up or down a swipe goes. */
const SIDEWAYS = 1.2;

/** No picture leaves its tile. */
export function clampView({ z, x, y }: View): View {
  const most = Math.max(0, (z - 1) / 2);
  return { z, x: Math.min(most, Math.max(-most, x)), y: Math.min(most, Math.max(-most, y)) };
}

/** Zoom so that the point (px, py), in fractions of a tile from its middle, stays under the fingers. */
export function zoomAt(view: View, z: number, px: number, py: number): View {
  const growth = z / view.z;
  return clampView({ z, x: px - (px - view.x) * growth, y: py - (py - view.y) * growth });
}

/** 1 for the next, -1 for the one before, 0 for no swipe: it takes distance or speed, and is not a scroll. */
export function swipeDirection(dx: number, dy: number, ms: number, width: number): 1 | -1 | 0 {
  const far = Math.abs(dx);
  if (far < Math.abs(dy) * SIDEWAYS) return 0;
  const quick = far > SWIPE_PX && far / Math.max(ms, 1) > SWIPE_PX_PER_MS;
  if (far <= width * SWIPE_SHARE && !quick) return 0;
  return dx < 0 ? 1 : -1;
}

const limited = (z: number) => Math.min(MAX_ZOOM, Math.max(1, z));
const isZoomed = (view: View) => view.z > 1.001;

interface Start {
  readonly view: View;
  readonly x: number;
  readonly y: number;
  /** Between two fingers. */
  readonly spread: number;
  readonly stamp: number;
  readonly tile: DOMRect;
}

export class Gestures {
  view = WHOLE;
  private readonly stage: HTMLElement;
  private readonly options: ZoomOptions;
  private readonly page: Window;
  private readonly fingers = new Map<number, PointerEvent>();
  private readonly stop = new AbortController();
  private following = new AbortController();
  private start: Start | null = null;
  private touched: Element | null = null;
  private moved = false;
  private pinched = false;
  private pressed = false;
  private dragging = false;
  private pressTimer = 0;
  private lastTap = { stamp: -Infinity, x: 0, y: 0 };

  constructor(stage: HTMLElement, options: ZoomOptions) {
    this.stage = stage;
    this.options = options;
    this.page = stage.ownerDocument.defaultView as Window;
    const signal = this.stop.signal;
    stage.addEventListener('pointerdown', (event) => this.down(event), { signal });
    stage.addEventListener('wheel', (event) => this.wheel(event), { signal, passive: false });
    // A long press is ours; a click with the right button is not.
    stage.addEventListener('contextmenu', (event) => this.fingers.size > 0 && event.preventDefault(), { signal });
    this.set(WHOLE);
  }

  destroy(): void {
    this.stop.abort();
    this.letGo();
  }

  reset(): void {
    this.set(WHOLE);
  }

  toggle(): void {
    this.set(isZoomed(this.view) ? WHOLE : { ...WHOLE, z: CLOSE });
  }

  private set(view: View): void {
    this.view = view;
    this.stage.style.setProperty('--z', String(view.z));
    this.stage.style.setProperty('--x', `${view.x * 100}%`);
    this.stage.style.setProperty('--y', `${view.y * 100}%`);
    this.stage.toggleAttribute('data-zoomed', isZoomed(view));
    this.options.onView?.(view);
  }

  private down(event: PointerEvent): void {
    const target = event.target as Element;
    if (event.button !== 0 || this.options.enabled?.() === false || target.closest('[data-plain]')) return;
    if (this.fingers.size === 0) {
      if (event.pointerType === 'touch' && this.isAtEdge(event.clientX)) return;
      this.firstDown(event, target);
    } else {
      clearTimeout(this.pressTimer);
    }
    this.fingers.set(event.pointerId, event);
    this.begin(event.timeStamp);
  }

  private firstDown(event: PointerEvent, target: Element): void {
    this.moved = this.pinched = this.pressed = false;
    this.touched = target;
    this.options.onTouch?.(true);
    this.following = new AbortController();
    // On the page, not on the stage: a finger may leave it, and a mouse sends no moves here while nothing is held.
    const { signal } = this.following;
    this.page.addEventListener('pointermove', (move) => this.move(move), { signal });
    this.page.addEventListener('pointerup', (up) => this.up(up), { signal });
    this.page.addEventListener('pointercancel', () => this.letGo(), { signal });
    clearTimeout(this.pressTimer);
    if (!this.options.onLongPress || event.pointerType === 'mouse') return;
    this.pressTimer = Number(setTimeout(() => this.press(event.timeStamp), LONG_PRESS_MS));
  }

  private press(stamp: number): void {
    if (this.moved || this.fingers.size !== 1 || !this.touched) return;
    this.pressed = true;
    this.options.onLongPress?.(this.touched, stamp);
  }

  private move(event: PointerEvent): void {
    const start = this.start;
    if (!this.fingers.has(event.pointerId) || !start) return;
    this.fingers.set(event.pointerId, event);
    const { x, y } = this.middle();
    const dx = x - start.x;
    const dy = y - start.y;
    if (!this.moved && this.fingers.size < 2 && Math.hypot(dx, dy) < SLOP) return;
    this.moved = true;
    clearTimeout(this.pressTimer);
    if (this.fingers.size > 1) this.pinch(start, dx, dy);
    else if (isZoomed(this.view)) this.pan(start.view, start, dx, dy);
    else if (!this.pinched && !this.pressed) this.drag(dx);
  }

  private pinch(start: Start, dx: number, dy: number): void {
    this.pinched = true;
    if (this.dragging) this.drag(0);
    const z = limited((start.view.z * this.spread()) / Math.max(start.spread, 1));
    this.pan(zoomAt(start.view, z, ...within(start.tile, start.x, start.y)), start, dx, dy);
  }

  private pan(from: View, { tile }: Start, dx: number, dy: number): void {
    this.set(clampView({ z: from.z, x: from.x + dx / tile.width, y: from.y + dy / tile.height }));
  }

  private drag(dx: number): void {
    this.dragging = dx !== 0;
    this.options.onDrag?.(dx);
  }

  private up(event: PointerEvent): void {
    if (!this.fingers.delete(event.pointerId) || !this.start) return;
    if (this.fingers.size > 0) return this.begin(event.timeStamp);
    const start = this.start;
    const touched = this.touched;
    this.letGo();
    if (this.moved || this.pinched) return this.endOfMove(event, start);
    if (!this.pressed && touched) this.tap(event, start, touched);
  }

  private endOfMove(event: PointerEvent, start: Start): void {
    if (this.pinched || this.pressed || isZoomed(this.view)) return;
    const ms = event.timeStamp - start.stamp;
    const direction = swipeDirection(event.clientX - start.x, event.clientY - start.y, ms, this.stage.clientWidth);
    if (direction !== 0) this.options.onSwipe?.(direction);
  }

  private tap(event: PointerEvent, start: Start, touched: Element): void {
    const { stamp, x, y } = this.lastTap;
    const near = Math.hypot(event.clientX - x, event.clientY - y) < DOUBLE_PX;
    // From finger up to finger down: how long the second one rests says nothing, nor does how late this is heard.
    const isDouble = near && start.stamp - stamp < DOUBLE_MS;
    // A third tap begins anew.
    this.lastTap = { stamp: isDouble ? -Infinity : event.timeStamp, x: event.clientX, y: event.clientY };
    if (!isDouble) return this.options.onTap?.(touched, start.stamp);
    this.options.onDouble?.();
    const point = within(start.tile, event.clientX, event.clientY);
    this.set(isZoomed(this.view) ? WHOLE : zoomAt(this.view, CLOSE, ...point));
  }

  private wheel(event: WheelEvent): void {
    if (this.options.enabled?.() === false || (!event.ctrlKey && !event.altKey && !isZoomed(this.view))) return;
    event.preventDefault();
    const z = limited(this.view.z * Math.exp(-event.deltaY / 200));
    const { clientX, clientY } = event;
    this.set(zoomAt(this.view, z, ...within(this.tileAt(clientX, clientY), clientX, clientY)));
  }

  private letGo(): void {
    this.following.abort();
    clearTimeout(this.pressTimer);
    if (this.fingers.size > 0 || this.start) this.options.onTouch?.(false);
    this.fingers.clear();
    this.start = null;
    if (this.dragging) this.drag(0);
  }

  private begin(stamp: number): void {
    const { x, y } = this.middle();
    this.start = { view: this.view, x, y, spread: this.spread(), stamp, tile: this.tileAt(x, y) };
  }

  private middle(): { x: number; y: number } {
    const all = [...this.fingers.values()];
    const mean = (of: (event: PointerEvent) => number) => all.reduce((sum, one) => sum + of(one), 0) / all.length;
    return { x: mean((one) => one.clientX), y: mean((one) => one.clientY) };
  }

  private spread(): number {
    const [a, b] = [...this.fingers.values()];
    return a && b ? Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) : 0;
  }

  private tileAt(x: number, y: number): DOMRect {
    const tile = this.stage.ownerDocument.elementFromPoint(x, y)?.closest('[data-tile]');
    return (tile ?? this.stage).getBoundingClientRect();
  }

  private isAtEdge(x: number): boolean {
    return x < EDGE || x > this.page.innerWidth - EDGE;
  }
}

function within(tile: DOMRect, x: number, y: number): [number, number] {
  return [(x - tile.left) / tile.width - 0.5, (y - tile.top) / tile.height - 0.5];
}
