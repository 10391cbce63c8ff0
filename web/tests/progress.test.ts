import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleetWords, type Hand, inOrder, memory, percent, standingOf } from '../src/progress/words.ts';

const HAND = {
  name: 'gpu-1',
  able: true,
  enabled: true,
  status: 'HEALTHY',
  missing: [],
  why_not: null,
  held: 0,
  utilisation: null,
} as const;
const hand = (more: Partial<Hand & { name: string }>) => ({ ...HAND, ...more });

test('a share is whole only when all is done, and nothing only when nothing is', () => {
  assert.equal(percent(0, 0), '0\u00a0%');
  assert.equal(percent(1, 200_000), '0.1\u00a0%');
  assert.equal(percent(199_999, 200_000), '99\u00a0%');
  assert.equal(percent(4, 4), '100\u00a0%');
  assert.equal(percent(37, 1_000), '3.7\u00a0%');
  assert.equal(percent(421, 1_000), '42\u00a0%');
});

test('a worker is what keeps it from working before it is anything else', () => {
  assert.equal(standingOf(hand({ held: 2 })), 'Working');
  assert.equal(standingOf(hand({})), 'Able');
  assert.equal(standingOf(hand({ able: false })), 'Cannot run this');
  assert.equal(standingOf(hand({ able: false, status: 'UNHEALTHY' })), 'Away');
  assert.equal(standingOf(hand({ held: 1, enabled: false, status: 'UNHEALTHY' })), 'Switched off');
});

test('the workers of a task in one sentence', () => {
  assert.equal(fleetWords([]), 'No worker is registered.');
  assert.equal(fleetWords([hand({})]), '1 of 1 worker can make these images.');
  assert.equal(
    fleetWords([
      hand({ held: 1, utilisation: 0.9 }),
      hand({ held: 1, utilisation: 0.8 }),
      hand({}),
      hand({ able: false }),
      hand({ status: 'UNHEALTHY' }),
      hand({ status: 'UNHEALTHY' }),
    ]),
    '3 of 6 workers can make these images; 1 cannot, 2 are away. Those that work are 85\u00a0% busy.',
  );
});

test('who works stands first, and ten comes after nine', () => {
  const workers = [
    hand({ name: 'gpu-10' }),
    hand({ name: 'gpu-9' }),
    hand({ name: 'gpu-2', enabled: false }),
    hand({ name: 'gpu-8', held: 1 }),
    hand({ name: 'gpu-1', able: false }),
  ];
  assert.deepEqual(
    inOrder(workers).map((one) => one.name),
    ['gpu-8', 'gpu-9', 'gpu-10', 'gpu-1', 'gpu-2'],
  );
});

test('memory reads as cards are sold', () => {
  assert.deepEqual([memory(24 * 2 ** 30), memory(4.8 * 2 ** 30), memory(2 ** 29)], ['24 GB', '4.8 GB', '512 MB']);
});
