/** What the workers page says about numbers. */
import { rate } from '../tasks/eta.ts';
import { percent } from '../progress/words.ts';
import { count, some } from '../ui/words.ts';

interface Shown {
  readonly enabled: boolean;
  readonly status: 'HEALTHY' | 'UNHEALTHY';
}

interface Figures {
  readonly utilisation: number | null;
  readonly images_per_second: number | null;
}

/** "3 of 4 workers are healthy. Together they were 94 % busy and make 12 images/s." */
export function fleetWords(workers: readonly (Shown & Figures)[]): string {
  if (workers.length === 0) return 'No worker is registered.';
  const healthy = workers.filter((one) => one.enabled && one.status === 'HEALTHY');
  const off = workers.filter((one) => !one.enabled).length;
  const first = `${count(healthy.length)} of ${some(workers.length, 'worker')} ${workers.length === 1 ? 'is' : 'are'} healthy${off ? `, ${count(off)} switched off` : ''}.`;
  const known = healthy.filter((one) => one.utilisation !== null);
  if (known.length === 0) return first;
  const busy = known.reduce((sum, one) => sum + (one.utilisation ?? 0), 0) / known.length;
  const speed = healthy.reduce((sum, one) => sum + (one.images_per_second ?? 0), 0);
  return `${first} Together they were ${percent(busy, 1)} busy${speed > 0 ? ` and made ${rate(speed)}` : ''}.`;
}

/** "idle for 8 ms between two jobs, 1 time in 20 for over 41 ms" */
export function idle(usual: number, seldom: number | null): string {
  return `idle for ${brief(usual)} between two jobs${seldom === null ? '' : `, 1 time in 20 for over ${brief(seldom)}`}`;
}

function brief(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** "out of memory (2), worker lost (1)" */
export function failuresInWords(failures: Readonly<Record<string, number>>): string {
  return Object.entries(failures)
    .sort(([, a], [, b]) => b - a)
    .map(([kind, times]) => `${kind.replaceAll('_', ' ')} (${count(times)})`)
    .join(', ');
}
