import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Depth, type Job, plan, Prefetcher, sizeFor } from '../src/engine/prefetch.ts';
import { settle } from './support.ts';

const batches = Array.from({ length: 60 }, (_, i) => ({ batch_id: `b${i}`, slot_order: [1, 0] }));
const DEPTH: Depth = { size: 'tiles', batches: 6, thumbnails: 20, saveData: false };

const keys = (at: number, depth = DEPTH) => plan(batches, at, depth).map((job) => job.key);

test('this batch comes first, then the next, each small and then sharp, in the order shown', () => {
  assert.deepEqual(keys(10).slice(0, 8), [
    'b10:1:thumbnails',
    'b10:0:thumbnails',
    'b10:1:tiles',
    'b10:0:tiles',
    'b11:1:thumbnails',
    'b11:0:thumbnails',
    'b11:1:tiles',
    'b11:0:tiles',
  ]);
});

test('the next twenty thumbnails and the next six tiles, nearest first and none twice', () => {
  const wanted = keys(10);
  assert.equal(new Set(wanted).size, wanted.length);
  assert.ok(wanted.includes('b30:0:thumbnails') && !wanted.includes('b31:0:thumbnails'));
  assert.ok(wanted.includes('b16:0:tiles') && !wanted.includes('b17:0:tiles'));
  const numbers = wanted.map((key) => Number(/\d+/.exec(key)?.[0]));
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => a - b),
  );
});

test('only this batch and the next are urgent', () => {
  const urgent = plan(batches, 10, DEPTH).filter((job) => job.urgency === 'high');
  assert.deepEqual([...new Set(urgent.map((job) => job.batch_id))], ['b10', 'b11']);
});

test('who asked for fewer bytes gets the tiles of the next two', () => {
  const wanted = keys(10, { ...DEPTH, saveData: true });
  assert.ok(wanted.includes('b12:0:tiles') && !wanted.includes('b13:0:tiles'));
  assert.ok(wanted.includes('b30:0:thumbnails'));
});

test('a variant of the A/B test says how many and which size', () => {
  const wanted = keys(0, { size: 'previews', batches: 1, thumbnails: 1, saveData: false });
  assert.ok(wanted.includes('b1:0:previews') && !wanted.includes('b2:0:previews'));
  assert.ok(!wanted.includes('b2:0:thumbnails'));
  assert.equal(keys(0, { size: 'thumbnails', batches: 6, thumbnails: 20, saveData: false }).length, 42);
});

test('the plan of the last batch ends with it, and of none is empty', () => {
  assert.equal(keys(59).length, 4);
  assert.deepEqual(keys(60), []);
  assert.deepEqual(plan([], 0, DEPTH), []);
});

test('the smallest size that is sharp', () => {
  assert.deepEqual([120, 256, 257, 700, 701, 3000].map(sizeFor), [
    'thumbnails',
    'thumbnails',
    'tiles',
    'tiles',
    'previews',
    'previews',
  ]);
});

function setUp() {
  const asked: string[] = [];
  const aborted: string[] = [];
  const failed: string[] = [];
  const doing: { job: Job; done: () => void; fail: () => void }[] = [];
  const prefetcher = new Prefetcher(
    (job, stop) =>
      new Promise((resolve, reject) => {
        asked.push(job.key);
        stop.addEventListener('abort', () => {
          aborted.push(job.key);
          reject(stop.reason as Error);
        });
        doing.push({ job, done: () => resolve(job.key), fail: () => reject(new Error('403')) });
      }),
    (job) => failed.push(job.key),
  );
  const finish = async () => {
    for (let next = doing.shift(); next; next = doing.shift()) {
      next.done();
      await settle();
    }
  };
  return { prefetcher, asked, aborted, failed, doing, finish };
}

test('never more than four under way, and two while an answer is unsent', async () => {
  const { prefetcher, asked, doing } = setUp();
  prefetcher.want(plan(batches, 0, DEPTH));
  assert.equal(asked.length, 4);
  prefetcher.limit(2);
  doing.shift()?.done();
  await settle();
  doing.shift()?.done();
  await settle();
  assert.equal(asked.length, 4);
  doing.shift()?.done();
  await settle();
  assert.equal(asked.length, 5);
  prefetcher.limit(4);
  assert.equal(asked.length, 7);
});

test('each picture is fetched once, in the order of the plan, however often the plan changes', async () => {
  const { prefetcher, asked, finish } = setUp();
  prefetcher.want(plan(batches, 0, DEPTH));
  await finish();
  prefetcher.want(plan(batches, 1, DEPTH));
  await finish();
  assert.equal(new Set(asked).size, asked.length);
  assert.deepEqual(asked.slice(0, 56), keys(0));
  assert.ok(keys(1).every((key) => prefetcher.has(key)));
});

test('what was left behind is broken off, and nothing is said of it', async () => {
  const { prefetcher, asked, aborted, failed } = setUp();
  prefetcher.want(plan(batches, 0, DEPTH));
  prefetcher.want(plan(batches, 30, DEPTH));
  await settle();
  assert.deepEqual(aborted, keys(0).slice(0, 4));
  assert.deepEqual(asked.slice(4), keys(30).slice(0, 4));
  assert.deepEqual(failed, []);
  prefetcher.want([]);
  await settle();
  prefetcher.want(plan(batches, 0, DEPTH));
  assert.deepEqual(asked.slice(8), keys(0).slice(0, 4));
});

test('a picture that fails is told once, and fetched again when its batch has new addresses', async () => {
  const { prefetcher, asked, failed, doing, finish } = setUp();
  prefetcher.want(plan(batches.slice(0, 1), 0, DEPTH));
  doing.shift()?.fail();
  await finish();
  prefetcher.want(plan(batches.slice(0, 1), 0, DEPTH));
  await finish();
  assert.deepEqual([failed, asked.length], [['b0:1:thumbnails'], 4]);
  prefetcher.retry('b1');
  assert.equal(asked.length, 4);
  prefetcher.retry('b0');
  await finish();
  assert.deepEqual([asked.at(-1), prefetcher.has('b0:1:thumbnails')], ['b0:1:thumbnails', true]);
});

test('what is furthest back leaves memory first, and nothing that is wanted does', async () => {
  const many = Array.from({ length: 120 }, (_, i) => ({ batch_id: `b${i}`, slot_order: [1, 0] }));
  const { prefetcher, finish } = setUp();
  for (let at = 0; at < 120; at++) {
    prefetcher.want(plan(many, at, DEPTH));
    await finish();
  }
  const sizes = ['thumbnails', 'tiles'] as const;
  const held = many.flatMap(({ batch_id }) => sizes.filter((size) => prefetcher.has(`${batch_id}:0:${size}`)));
  // 320 pictures, of which every other one is a candidate 0.
  assert.ok(held.length >= 150 && held.length <= 165, `${held.length} are held`);
  assert.ok(!prefetcher.has('b0:0:tiles') && prefetcher.has('b119:0:tiles'));
});
