/** What makes long hours kinder, and can be turned off: kept on this device, for whoever uses it. */
import { effect, signal } from '@preact/signals';
import { recall } from '../ui/memory.ts';

export type Theme = 'system' | 'dark' | 'light';

export const haptics = signal(recall('haptics') !== 'off');
export const theme = signal<Theme>(themeOf(recall('theme')));

/** A short tick under the finger, where the phone can (no iPhone can). */
export function pulse(): void {
  if (haptics.value) navigator.vibrate?.(8);
}

function themeOf(kept: string | null): Theme {
  return kept === 'dark' || kept === 'light' ? kept : 'system';
}

/** The labelling page looks as its person wants; the rest of the app follows the system. */
export function wearTheme(): () => void {
  const { style } = document.documentElement;
  const stop = effect(() => {
    style.colorScheme = theme.value === 'system' ? '' : theme.value;
  });
  return () => {
    stop();
    style.colorScheme = '';
  };
}

/** The screen stays on while somebody looks: the lock goes when the page is hidden, and is asked for again. */
export function stayAwake(): () => void {
  const stop = new AbortController();
  let lock: WakeLockSentinel | undefined;
  const ask = async () => {
    if (document.hidden || stop.signal.aborted) return;
    lock = await navigator.wakeLock?.request('screen').catch(() => undefined);
    if (stop.signal.aborted) void lock?.release();
  };
  document.addEventListener('visibilitychange', ask, { signal: stop.signal });
  void ask();
  return () => {
    stop.abort();
    void lock?.release();
  };
}
