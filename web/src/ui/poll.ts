/** Ask again and again while somebody looks. */
import { useEffect } from 'preact/hooks';

/** Runs `ask` now, then `every` ms after it ended; not while the page is hidden; at once when it is looked at again. */
export function usePoll(ask: (signal: AbortSignal) => Promise<void>, every: number, key: unknown = null): void {
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    let asking = false;
    const round = async () => {
      clearTimeout(timer);
      if (asking || document.hidden) return;
      asking = true;
      try {
        await ask(stop.signal);
      } catch (error) {
        if (!stop.signal.aborted) console.error(error);
      } finally {
        asking = false;
        if (!stop.signal.aborted) timer = window.setTimeout(round, every);
      }
    };
    document.addEventListener('visibilitychange', round, { signal: stop.signal });
    void round();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key]);
}
