/** How long a run still takes, in words that promise no more than is known. */
import { count } from '../ui/words.ts';

export interface Range {
  readonly low: number;
  readonly high: number;
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 24 * HOUR;

/** "about 25 min", "about 2.5 h", "about 3 days" */
export function timeLeft({ low, high }: Range): string {
  return `about ${roughly((low + high) / 2)}`;
}

/** "give or take 15 min": half of the range; null where it is too small to speak of. */
export function giveOrTake({ low, high }: Range): string | null {
  const half = (high - low) / 2;
  return half < 20 || half < (low + high) / 40 ? null : `give or take ${roughly(half)}`;
}

/** Whether the range says little more than an order of magnitude. */
export function isRough({ low, high }: Range): boolean {
  return high > 2 * Math.max(low, MINUTE);
}

/** "done between 14:10 and 14:40"; with days where they are not today. */
export function doneBetween({ low, high }: Range, now: Date): string {
  // Outwards, so that rounding never narrows what is known; wide ranges in five minutes.
  const step = (high - low > 10 * MINUTE ? 5 : 1) * MINUTE * 1000;
  const from = new Date(Math.floor((now.getTime() + low * 1000) / step) * step);
  const to = new Date(Math.ceil((now.getTime() + high * 1000) / step) * step);
  if (to.getTime() - from.getTime() <= MINUTE * 1000) return `done ${onDay(to, now)}at ${clock(to)}`;
  if (sameDay(from, to)) return `done ${onDay(from, now)}between ${clock(from)} and ${clock(to)}`;
  return `done between ${[from, to].map((time) => `${day(time, now)}${clock(time)}`).join(' and ')}`;
}

/** "2.6 images/s", "40 images/min", "12 images/h". What is compared has one unit: that of the fastest. */
export function rate(perSecond: number, fastest = perSecond): string {
  const [value, unit] =
    fastest >= 1 ? [perSecond, 's'] : fastest * 60 >= 1 ? [perSecond * 60, 'min'] : [perSecond * 3600, 'h'];
  if (value > 0 && value < 0.1) return `under 0.1 images/${unit}`;
  const number = value < 10 ? short(value) : count(Math.round(value));
  return `${number} ${number === '1' ? 'image' : 'images'}/${unit}`;
}

/** "0.8 s", "12 s", "2.5 min" */
export function seconds(value: number): string {
  if (value < 0.1) return 'under 0.1 s';
  if (value < 90) return `${value < 10 ? short(value) : Math.round(value)} s`;
  return `${short(value / 60)} min`;
}

function roughly(value: number): string {
  if (value < MINUTE * 0.75) return `${Math.max(5, Math.round(value / 5) * 5)} s`;
  if (value < 90 * MINUTE) {
    const minutes = value / MINUTE;
    return `${Math.max(1, minutes < 20 ? Math.round(minutes) : Math.round(minutes / 5) * 5)} min`;
  }
  if (value < 10 * HOUR) return `${short(Math.round((value / HOUR) * 2) / 2)} h`;
  if (value < 2 * DAY) return `${Math.round(value / HOUR)} h`;
  return `${Math.round(value / DAY)} days`;
}

function short(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}

function clock(time: Date): string {
  return `${two(time.getHours())}:${two(time.getMinutes())}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

function sameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

/** "", "tomorrow ", "Tue " or "3 Dec " */
function day(time: Date, now: Date): string {
  if (sameDay(time, now)) return '';
  const tomorrow = new Date(now);
  tomorrow.setDate(now.getDate() + 1);
  if (sameDay(time, tomorrow)) return 'tomorrow ';
  const near = time.getTime() - now.getTime() < 6 * DAY * 1000;
  const name = near ? { weekday: 'short' as const } : { day: 'numeric' as const, month: 'short' as const };
  return `${time.toLocaleDateString('en-GB', name)} `;
}

function onDay(time: Date, now: Date): string {
  return day(time, now).replace(/^(?!tomorrow|$)/, 'on ');
}
