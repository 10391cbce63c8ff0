/**
 * One view for every candidate: pinch, pan, double tap and wheel set three variables on the stage (--z, --x, --y), and
 * each picture does `translate(var(--x), var(--y)) scale(var(--z))`: pictures of any size stay in step. No framework.
 */

/** x and y in fractions of a tile, from its middle. */
export interface View {
  readonly z: number;
  readonly x: number;
  readonly y: number;
}

export interface ZoomOptions {
  /** 1: to the next one (the finger went left). Only where nothing is zoomed. */
  onSwipe?(direction: 1 | -1): void;
  /** The finger is this far from where it began; 0 when it let go. */
  onDrag?(dx: number): void;
  /** A finger is down, or all are up: before anything is made of it. */
  onTouch?(isDown: boolean): void;
  /** `stamp` is when the finger touched. */
  onTap?(element: Element, stamp: number): void;
  onDouble?(): void;
  onLongPress?(element: Element, stamp: number): void;
  onView?(view: View): void;
  /** False: fingers are none of our business now. */
  enabled?(): boolean;
}

export interface Zoom {
  reset(): void;
  toggle(): void;
  readonly view: View;
  destroy(): void;
}

/**
 * What the fingers do to a stage, by code that is under way: the first picture does not wait for it. Tiles are marked
 * `data-tile`; what has a click of its own inside the stage is marked `data-plain`.
 */
export function attachLater(coming: Promise<() => Zoom>): Zoom {
  let there: Zoom | null = null;
  let isGone = false;
  void coming.then((attach) => {
    if (!isGone) there = attach();
  });
  return {
    reset: () => there?.reset(),
    toggle: () => there?.toggle(),
    get view() {
      return there?.view ?? { z: 1, x: 0, y: 0 };
    },
    destroy() {
      isGone = true;
      there?.destroy();
    },
  };
}
