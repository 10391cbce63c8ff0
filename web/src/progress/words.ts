/** What the progress page says about numbers. */
import { count, some } from '../ui/words.ts';

const PERCENT = '\u00a0%';

/** "0.4 %", "42 %", on one line; never 100 % before all is done, never 0 % once something is. */
export function percent(part: number, whole: number): string {
  if (whole === 0 || part === 0) return `0${PERCENT}`;
  const share = (100 * part) / whole;
  if (part >= whole) return `100${PERCENT}`;
  if (share < 10) return `${Math.max(0.1, Math.floor(share * 10) / 10)}${PERCENT}`;
  return `${Math.floor(share)}${PERCENT}`;
}

export interface Hand {
  readonly able: boolean;
  readonly enabled: boolean;
  readonly status: 'HEALTHY' | 'UNHEALTHY';
  readonly missing: readonly string[];
  readonly why_not: string | null;
  readonly held: number;
  readonly utilisation: number | null;
}

/** The words of a worker's badge. */
export type Standing = 'Working' | 'Able' | 'Cannot run this' | 'Away' | 'Switched off';

/** In which way a worker is of use to a task. */
export function standingOf(worker: Hand): Standing {
  if (!worker.enabled) return 'Switched off';
  if (worker.status !== 'HEALTHY') return 'Away';
  if (!worker.able) return 'Cannot run this';
  return worker.held > 0 ? 'Working' : 'Able';
}

const OTHERS: readonly (readonly [Standing, string, string])[] = [
  ['Cannot run this', 'cannot', 'cannot'],
  ['Away', 'is away', 'are away'],
  ['Switched off', 'is switched off', 'are switched off'],
];

/** "3 of 5 workers can make these images; 1 cannot, 1 is away. Those that work are 92 % busy." */
export function fleetWords(workers: readonly Hand[]): string {
  if (workers.length === 0) return 'No worker is registered.';
  const standings = workers.map(standingOf);
  const number = (...words: string[]) => standings.filter((one) => words.includes(one)).length;
  const able = number('Working', 'Able');
  const others = OTHERS.flatMap(([word, one, many]) => {
    const those = number(word);
    return those > 0 ? [`${count(those)} ${those === 1 ? one : many}`] : [];
  });
  const busy = workers.filter((one) => standingOf(one) === 'Working' && one.utilisation !== null);
  const share = busy.reduce((sum, one) => sum + (one.utilisation ?? 0), 0) / busy.length;
  return (
    `${count(able)} of ${some(workers.length, 'worker')} can make these images` +
    (others.length > 0 ? `; ${others.join(', ')}.` : '.') +
    (busy.length > 0
      ? ` ${busy.length === 1 ? 'The one that works is' : 'Those that work are'} ${percent(share, 1)} busy.`
      : '')
  );
}

/** Those that work first, then those that could, then those that want mending; by name inside each. */
export function inOrder<T extends Hand & { readonly name: string }>(workers: readonly T[]): T[] {
  const rank: readonly Standing[] = ['Working', 'Able', 'Cannot run this', 'Away', 'Switched off'];
  const place = (worker: T) => rank.indexOf(standingOf(worker));
  return [...workers].sort((a, b) => place(a) - place(b) || a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** "24 GB", "5.2 GB", "512 MB": bytes as the cards are sold. */
export function memory(bytes: number): string {
  const giga = bytes / 2 ** 30;
  if (giga < 1) return `${Math.round(bytes / 2 ** 20)} MB`;
  return `${giga < 10 ? giga.toFixed(1).replace('.0', '') : Math.round(giga)} GB`;
}
