/** A live line for as long as a page is up and looked at. */
import { useEffect, useRef } from 'preact/hooks';
import { LiveLine, type LiveWork, type LiveWorld } from './line.ts';

const BROWSER: LiveWorld = {
  open: (address) => new EventSource(address),
  later: (run, ms) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  hidden: () => document.hidden,
  complain: (error) => console.error(error),
};

/** Hidden pages keep no line: a browser has six to a server, and a phone in a pocket needs none. Answers with what
 *  asks how everything stands now. */
export function useLive(work: LiveWork, key: unknown = null): () => void {
  const line = useRef<LiveLine | null>(null);
  useEffect(() => {
    const mine = new LiveLine(work, BROWSER);
    const stop = new AbortController();
    const follow = () => (document.hidden ? mine.stop() : mine.start());
    document.addEventListener('visibilitychange', follow, { signal: stop.signal });
    addEventListener('online', follow, { signal: stop.signal });
    line.current = mine;
    mine.start();
    return () => {
      stop.abort();
      mine.stop();
    };
  }, [key]);
  return () => line.current?.askNow();
}
