import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, settle, TaskServer } from './support.ts';

async function setUp(ready = 30) {
  const server = new TaskServer(ready);
  const browser = new Browser(server);
  const page = browser.page();
  return { server, browser, page, session: page.session };
}

test('pictures come by place, and those of the next batch are told when they are all here', async () => {
  const { page, session } = await setUp();
  assert.equal(session.ahead.value, false);
  await page.open();
  const batch = session.current.value as NonNullable<typeof session.current.value>;
  assert.equal(session.picture(batch, 0, 'tiles'), batch.tiles[3]);
  assert.deepEqual(page.fetched.slice(0, 2), [batch.thumbnails[3], batch.thumbnails[2]]);
  assert.deepEqual([session.isHere(batch, 0, 'tiles'), session.ahead.value], [true, true]);
});

test('an address that ran out is renewed once, and the picture is fetched again', async () => {
  const { page, session, server } = await setUp();
  page.broken.add('tiles-0-3?0').add('tiles-0-2?0');
  await page.open();
  const batch = session.current.value as NonNullable<typeof session.current.value>;
  assert.equal(server.round, 1);
  assert.equal(session.picture(batch, 0, 'tiles'), 'tiles-0-3?1');
  assert.equal(session.isHere(batch, 0, 'tiles'), true);
});

test('a picture that is here keeps its address: no second one fetches it again', async () => {
  const { page, session } = await setUp();
  page.broken.add('tiles-0-3?0');
  await page.open();
  const batch = session.current.value as NonNullable<typeof session.current.value>;
  assert.equal(session.picture(batch, 1, 'tiles'), 'tiles-0-2?0');
  assert.equal(session.picture(batch, 0, 'thumbnails'), 'thumbnails-0-3?0');
  assert.equal(new Set(page.fetched).size, page.fetched.length);
});

test('a picture that is gone for good is asked for with new addresses once, and then not again', async () => {
  const { page, session, server, browser } = await setUp();
  for (let round = 0; round < 9; round++) page.broken.add(`tiles-0-3?${round}`);
  await page.open();
  assert.equal(server.round, 1);
  await page.say((s) => s.go(1));
  await browser.clock.pass(3_000);
  assert.equal(server.round, 1);
  const batch = session.batches.value[0] as NonNullable<typeof session.current.value>;
  assert.equal(session.isHere(batch, 0, 'tiles'), false);
  await page.say((s) => s.go(-1));
  await page.say((s) => s.skip());
  assert.equal(page.shown, 'b1');
});

test('without a network nothing is renewed, and everything is tried again when it is back', async () => {
  const { page, session, server, browser } = await setUp();
  await page.open();
  browser.goOffline();
  page.broken.add('tiles-7-3?0');
  await page.say((s) => s.go(1));
  assert.equal(server.round, 0);
  page.broken.clear();
  browser.goOnline();
  await session.load();
  await settle();
  const batch = session.batches.value[7] as NonNullable<typeof session.current.value>;
  assert.equal(session.isHere(batch, 0, 'tiles'), true);
});

test('tiles that ask for new addresses at the same time ask once', async () => {
  const { page, session, server } = await setUp();
  await page.open();
  await Promise.all([session.renew('b0'), session.renew('b0'), session.renew('b0')]);
  assert.equal(server.round, 1);
});

test('a variant that prefetches more or less, and who saves data', async () => {
  const { server, browser } = await setUp();
  const frugal = await browser.page('ann', { saveData: () => true }).open();
  assert.ok(frugal.fetched.includes('tiles-2-0?0') && !frugal.fetched.includes('tiles-3-0?0'));
  const next = server.next.bind(server);
  server.next = async (...ask) => ({
    ...(await next(...ask)),
    variant: { key: 'deep', image_size: null, prefetch_batches: 9, cdn_url: null },
  });
  const deep = await browser.page('bob').open();
  assert.ok(deep.fetched.includes('tiles-9-0?0') && !deep.fetched.includes('tiles-10-0?0'));
});
