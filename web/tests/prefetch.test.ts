import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plan, Prefetcher } from '../src/label/prefetch.ts';

const batches = Array.from({ length: 60 }, (_, i) => ({
  thumbnails: [`t${i}a`, `t${i}b`],
  previews: [`p${i}a`, `p${i}b`],
}));

test('this batch comes first, then the next one, then coming thumbnails, then previews', () => {
  const urls = plan(batches, 10);
  assert.deepEqual(urls.slice(0, 8), ['t10a', 't10b', 'p10a', 'p10b', 't11a', 't11b', 'p11a', 'p11b']);
  assert.equal(urls[8], 't12a');
  assert.ok(urls.indexOf('t30b') < urls.indexOf('p12a'));
});

test('the next twenty thumbnails and the next six previews, none twice', () => {
  const urls = plan(batches, 10);
  assert.equal(new Set(urls).size, urls.length);
  assert.ok(urls.includes('t30b') && !urls.includes('t31a'));
  assert.ok(urls.includes('p16b') && !urls.includes('p17a'));
});

test('the plan of the last batch ends with it', () => {
  assert.deepEqual(plan(batches, 59), ['t59a', 't59b', 'p59a', 'p59b']);
  assert.deepEqual(plan([], 0), []);
});

test('never more than six are fetched at a time, and no address twice', async () => {
  const asked: string[] = [];
  const finish: (() => void)[] = [];
  const prefetcher = new Prefetcher((url) => {
    asked.push(url);
    return new Promise((resolve) => finish.push(() => resolve(url)));
  });
  prefetcher.want(plan(batches, 0));
  assert.equal(asked.length, 6);
  prefetcher.want(plan(batches, 1));
  assert.equal(asked.length, 6);
  while (finish.length) {
    finish.shift()?.();
    await new Promise(setImmediate);
  }
  assert.equal(new Set(asked).size, asked.length);
  // Asked for while the first six were under way, the plan from batch 1 on is what was fetched.
  assert.ok(asked.includes('t21b') && !asked.includes('t22a'));
});

test('a picture that failed is fetched again when it is still wanted', async () => {
  let failures = 1;
  const asked: string[] = [];
  const prefetcher = new Prefetcher(async (url) => {
    asked.push(url);
    if (failures-- > 0) throw new Error('404');
    return url;
  });
  prefetcher.want(['a']);
  await new Promise(setImmediate);
  prefetcher.want(['a']);
  prefetcher.want(['a']);
  assert.deepEqual(asked, ['a', 'a']);
});
