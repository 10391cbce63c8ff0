// From before the first script of a page: what moved, how long a tap took until the next pictures were painted, and
// how long each took by the browser's own count.
(() => {
  const bench = (window.bench = { painted: [], shifted: 0, shiftedAfterTap: 0, taps: new Map() });

  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) bench.shiftedAfterTap += entry.value;
      else bench.shifted += entry.value;
    }
  }).observe({ type: 'layout-shift', buffered: true });

  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!entry.interactionId) continue;
      bench.taps.set(entry.interactionId, Math.max(entry.duration, bench.taps.get(entry.interactionId) ?? 0));
    }
  }).observe({ type: 'event', durationThreshold: 16, buffered: true });

  const shown = () => document.querySelector('[data-shown][data-batch]');
  const isWhole = (slide) => {
    const pictures = [...slide.querySelectorAll('img:not(.under)')];
    return pictures.length >= 4 && pictures.every((picture) => picture.complete && picture.naturalWidth > 0);
  };

  // Forget what was before, and watch from now on: looking at every frame is work of its own.
  bench.begin = () => {
    bench.taps.clear();
    let last = 0;
    addEventListener(
      'pointerup',
      (event) => {
        const before = shown()?.dataset.batch;
        const tap = (last += 1);
        const look = () => {
          if (tap !== last) return; // it was lost
          const slide = shown();
          if (!slide || slide.dataset.batch === before || !isWhole(slide)) return requestAnimationFrame(look);
          // A frame's callbacks run before its paint, a message after it.
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => bench.painted.push(performance.now() - event.timeStamp);
          port2.postMessage(0);
        };
        requestAnimationFrame(look);
      },
      { capture: true },
    );
  };
})();
