import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEPT_CACHE, KeptPictures } from '../src/engine/kept.ts';
import { Keeping } from '../src/label/keeping.ts';
import { Browser, settle, TaskServer, until } from './support.ts';

const ORIGIN = 'http://here';

/** Cache Storage as far as it is used: one cache of addresses, and a disk that may be full. */
class Caches {
  readonly stored = new Map<string, Response>();
  room = Infinity;

  async open(name: string) {
    assert.equal(name, KEPT_CACHE);
    return {
      keys: async () => [...this.stored.keys()].map((path) => new Request(ORIGIN + path)),
      match: async (request: Request) => this.stored.get(new URL(request.url).pathname)?.clone(),
      put: async (path: string, response: Response) => {
        if (this.stored.size >= this.room) throw new DOMException('full', 'QuotaExceededError');
        this.stored.set(path, response);
      },
      delete: async (request: Request) => this.stored.delete(new URL(request.url).pathname),
    };
  }

  async delete() {
    this.stored.clear();
    return true;
  }
}

async function setUp(ready = 250) {
  const caches = new Caches();
  const fetched: string[] = [];
  const line = { down: false, status: 200, most: 0, underWay: 0 };
  const worker = { isServing: true };
  const fetch = async (url: string) => {
    fetched.push(url);
    line.underWay += 1;
    line.most = Math.max(line.most, line.underWay);
    await settle();
    line.underWay -= 1;
    if (line.down) throw new TypeError('Failed to fetch');
    return new Response(new Blob(['x'.repeat(1_000)], { type: 'image/webp' }), { status: line.status });
  };
  const store = new KeptPictures(caches as unknown as CacheStorage, fetch, () => worker.isServing);
  const server = new TaskServer(ready);
  server.images = 2;
  const browser = new Browser(server);
  const open = () => browser.page('ann', { keeping: (state) => Keeping.open(store, state) }).open();
  const page = await open();
  return { caches, fetched, line, worker, server, browser, page, session: page.session, open };
}

test('offline mode holds 200 batches, keeps the previews of all, and tells how far it is', async () => {
  const { server, session, caches, line } = await setUp();
  assert.deepEqual([session.offline.value.possible, session.offline.value.on], [true, false]);
  await session.keepOffline(true);
  assert.deepEqual(server.asked.at(-1)?.count, 200);
  assert.equal(session.batches.value.length, 200);
  await until(() => session.offline.value.ready === 10);
  assert.deepEqual(session.offline.value, {
    possible: true,
    on: true,
    ready: 10,
    wanted: 200,
    bytes: 40_000,
    expected: 800_000,
    stopped: null,
  });
  await until(() => session.offline.value.ready === 200);
  assert.equal(caches.stored.size, 200 * 5);
  assert.equal(line.most, 2, 'what is shown comes first');
});

test('a kept picture is shown from this device, by batch and candidate, in whatever size', async () => {
  const { session, fetched } = await setUp(30);
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 30);
  const last = session.batches.value.at(-1) as (typeof session.batches.value)[number];
  assert.equal(session.picture(last, 0, 'previews'), `/kept/${last.batch_id}/1/previews`);
  assert.equal(session.picture(last, 0, 'tiles'), `/kept/${last.batch_id}/1/previews`);
  assert.equal(session.picture(last, 0, 'fullres'), last.fullres[1]);
  const [first] = session.batches.value;
  assert.ok(
    first && !session.picture(first, 0, 'tiles').startsWith('/kept/'),
    'what is here already keeps its address',
  );
  assert.equal(new Set(fetched).size, 30 * 4);
});

test('where no service worker answers for the page, kept pictures are shown from the server', async () => {
  const { session, worker } = await setUp(30);
  worker.isServing = false;
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 30);
  const last = session.batches.value.at(-1) as (typeof session.batches.value)[number];
  assert.equal(session.picture(last, 0, 'previews'), last.previews[1]);
});

test('after a reload without network 200 batches can be answered, and exactly those arrive', async () => {
  const { browser, server, session, page, open, caches } = await setUp();
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 200);
  page.close();
  browser.goOffline();
  const again = await open();
  assert.equal(again.session.offline.value.on, true);
  for (let i = 0; i < 200; i++) {
    const shown = again.session.current.value;
    assert.ok(shown && caches.stored.has(again.session.picture(shown, 1, 'tiles')), `picture of ${i}`);
    await again.say((s) => s.tie());
  }
  assert.deepEqual([again.session.phase.value, again.session.unsent.value], ['away', 200]);
  browser.goOnline();
  await again.session.load();
  await until(() => again.session.unsent.value === 0);
  assert.equal(server.answers.size, 200);
  assert.equal(server.done.size, 200);
});

test('a reload with a network asks for 200 again: nothing of it is given back', async () => {
  const { server, session, page, open } = await setUp();
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 200);
  page.close();
  const again = await open();
  assert.deepEqual([server.asked.at(-1)?.offline, again.session.batches.value.length], [true, 200]);
  again.session.leave();
  await settle();
  assert.deepEqual(server.released, []);
});

test('turned off, the pictures leave this device and the batches go back', async () => {
  const { session, caches, server } = await setUp(100);
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 100);
  await session.keepOffline(false);
  assert.deepEqual([caches.stored.size, session.batches.value.length], [0, 20]);
  assert.deepEqual([session.offline.value.on, session.offline.value.ready], [false, 0]);
  assert.equal(server.asked.at(-1)?.count, 20);
});

test('a disk that is full stops it, and says so; what is there stays', async () => {
  const { session, caches } = await setUp(100);
  caches.room = 52;
  await session.keepOffline(true);
  await until(() => session.offline.value.stopped !== null);
  assert.deepEqual([session.offline.value.stopped, session.offline.value.ready], ['no room', 10]);
});

test('a line that breaks stops it, and the next contact goes on where it was', async () => {
  const { session, line } = await setUp(40);
  line.down = true;
  await session.keepOffline(true);
  await until(() => session.offline.value.stopped === 'away');
  line.down = false;
  await session.load();
  await until(() => session.offline.value.ready === 40);
  assert.equal(session.offline.value.stopped, null);
});

test('a picture that was deleted does not stop the others', async () => {
  const { session, line } = await setUp(5);
  line.status = 404;
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 5);
  assert.equal(session.offline.value.bytes, 0);
});

test('a batch that is answered and asked about again leaves the device', async () => {
  const { session, caches, page, browser } = await setUp(30);
  await session.keepOffline(true);
  await until(() => session.offline.value.ready === 30);
  await page.say((s) => s.tie());
  await browser.clock.pass(500);
  await session.load();
  await settle();
  assert.equal(caches.stored.size, 29 * 5);
});

test('without a cache (plain http) there is no offline mode', async () => {
  const page = await new Browser(new TaskServer(5)).page().open();
  assert.equal(page.session.offline.value.possible, false);
});
