import assert from 'node:assert/strict';
import { test } from 'node:test';
import { actionsOf, canExport } from '../src/tasks/actions.ts';
import { firstLine } from '../src/ui/title.ts';
import { duration, since, some } from '../src/ui/words.ts';

const progress = { done: 0, failed: 0, pending: 0 };
const verbs = (state: Parameters<typeof actionsOf>[0]['state'], failed = 0, paused = false) =>
  actionsOf({ state, paused, progress: { ...progress, failed } }).map((action) => action.verb);

test('each state offers what the server allows in it, and nothing else', () => {
  assert.deepEqual(verbs('DRAFT'), ['pilot', 'freeze']);
  assert.deepEqual(verbs('FROZEN'), ['run']);
  assert.deepEqual(verbs('RUNNING'), ['pause', 'cancel']);
  assert.deepEqual(verbs('RUNNING', 0, true), ['resume', 'cancel']);
  assert.deepEqual(verbs('DONE'), []);
  assert.deepEqual(verbs('DONE', 3), ['run']);
  assert.deepEqual(verbs('FAILED'), ['run']);
});

test('there is something to export once there are images', () => {
  assert.ok(canExport({ state: 'FAILED', paused: false, progress: { ...progress, done: 1 } }));
  assert.ok(!canExport({ state: 'RUNNING', paused: false, progress }));
  assert.ok(!canExport({ state: 'FROZEN', paused: true, progress: { ...progress, done: 1 } }));
});

test('numbers and times read as people say them', () => {
  assert.equal(some(1, 'prompt'), '1 prompt');
  assert.equal(some(1200, 'retry', 'retries'), '1,200 retries');
  assert.deepEqual([duration(48), duration(720), duration(9000)], ['48 s', '12 min', '2.5 h']);
  const now = Date.parse('2026-11-22T12:00:00Z');
  assert.equal(since('2026-11-22T11:59:40Z', now), 'just now');
  assert.equal(since('2026-11-22T09:30:00Z', now), '2 h ago');
  assert.equal(since('2026-11-20T09:30:00Z', now), 'Nov 20, 2026');
  assert.deepEqual([firstLine('\n  first \nsecond'), firstLine(null), firstLine(' ')], ['first', null, null]);
});
