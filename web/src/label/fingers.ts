/** Fingers on the stage: what they do comes with code of its own (hands.ts). */
import { useEffect } from 'preact/hooks';
import { attachLater, type Zoom } from '../engine/zoom.ts';
import type { Sitting } from './types.ts';

type Held = { current: HTMLElement | null };

export function useFingers(
  sitting: Sitting,
  stage: Held,
  strip: Held,
  zoom: { current: Zoom | null },
  close: { value: string | null },
): void {
  useEffect(() => {
    const [around, carried] = [stage.current as HTMLElement, strip.current as HTMLElement];
    const fingers = attachLater(
      import('./hands.ts').then(
        ({ follow }) =>
          () =>
            follow(sitting, around, carried, close),
      ),
    );
    zoom.current = fingers;
    return () => fingers.destroy();
  }, []);
}
