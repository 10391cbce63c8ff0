import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failuresInWords, fleetWords, idle } from '../src/workers/words.ts';

const WORKER = { enabled: true, status: 'HEALTHY', utilisation: null, images_per_second: null } as const;

test('all workers in one sentence: whoever pays sees whether they are busy', () => {
  assert.equal(fleetWords([]), 'No worker is registered.');
  assert.equal(fleetWords([WORKER]), '1 of 1 worker is healthy.');
  assert.equal(
    fleetWords([
      { ...WORKER, utilisation: 0.96, images_per_second: 1.5 },
      { ...WORKER, utilisation: 0.92, images_per_second: 2.5 },
      { ...WORKER, status: 'UNHEALTHY', utilisation: 0, images_per_second: 0 },
      { ...WORKER, enabled: false },
    ]),
    '2 of 4 workers are healthy, 1 switched off. Together they were 94\u00a0% busy and made 4 images/s.',
  );
});

test('the time between two jobs, and the failures, in words', () => {
  assert.equal(idle(8.4, 41), 'idle for 8 ms between two jobs, 1 time in 20 for over 41 ms');
  assert.equal(idle(1200, null), 'idle for 1.2 s between two jobs');
  assert.equal(failuresInWords({ worker_lost: 1, out_of_memory: 1200 }), 'out of memory (1,200), worker lost (1)');
});
