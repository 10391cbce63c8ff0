import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, settle, TaskServer } from './support.ts';

async function setUp(ready: number, batches = ready) {
  const server = new TaskServer(ready, batches);
  const browser = new Browser(server);
  const page = await browser.page().open();
  return { server, browser, page, session: page.session };
}

const MINUTE = 60_000;

test('twenty are held, and asked for again when ten places are free', async () => {
  const { server, page, session, browser } = await setUp(100);
  assert.deepEqual([session.batches.value.length, server.asked.length], [20, 1]);
  for (let i = 0; i < 9; i++) await page.say((s) => s.tie());
  assert.equal(server.asked.length, 1);
  await page.say((s) => s.tie());
  assert.equal(server.asked.length, 1, 'an undo may follow');
  await browser.clock.pass(1_000);
  assert.deepEqual(server.asked.slice(1), [
    {
      have: Array.from({ length: 10 }, (_, i) => `b${i + 10}`),
      count: 20,
      offline: false,
    },
  ]);
  assert.equal(session.batches.value.length, 30);
});

test('every batch is shown once, and then the task is finished', async () => {
  const { server, page, session } = await setUp(73);
  const seen: string[] = [];
  while (session.phase.value === 'work') {
    seen.push(page.shown as string);
    await page.say((s) => s.tie());
  }
  assert.deepEqual([session.phase.value, seen.length, new Set(seen).size], ['finished', 73, 73]);
  assert.deepEqual([server.answers.size, session.progress.value.mine], [73, 73]);
});

test('a task without a batch for this person says that there is nothing', async () => {
  const { session } = await setUp(0);
  assert.equal(session.phase.value, 'nothing');
});

test('a task that has not begun says the same, and begins by itself', async () => {
  const server = new TaskServer(3);
  server.status = 409;
  const browser = new Browser(server);
  const page = await browser.page().open();
  assert.equal(page.session.phase.value, 'nothing');
  server.status = 0;
  await browser.clock.pass(2_000);
  assert.equal(page.session.phase.value, 'work');
});

test('no such task', async () => {
  const { server, session, page } = await setUp(3);
  await page.say((s) => s.tie());
  server.status = 404;
  await session.load();
  assert.deepEqual([session.phase.value, session.current.value], ['gone', undefined]);
});

test('while images are being made it waits, asks when it was told to, and shows what has come', async () => {
  const { server, page, session, browser } = await setUp(2, 4);
  await page.say((s) => s.tie());
  await page.say((s) => s.tie());
  assert.deepEqual([session.phase.value, session.coming.value], ['waiting', 2]);
  const asked = server.asked.length;
  await browser.clock.pass(4_900);
  assert.equal(server.asked.length, asked);
  server.ready = 4;
  await browser.clock.pass(5_100);
  assert.deepEqual([session.phase.value, page.shown], ['work', 'b2']);
});

test('nobody looks: nothing is asked until somebody does', async () => {
  const { server, session, browser, page } = await setUp(2, 4);
  await page.say((s) => s.tie());
  await page.say((s) => s.tie());
  session.attend(false);
  const asked = server.asked.length;
  await browser.clock.pass(60 * MINUTE);
  assert.equal(server.asked.length, asked);
  server.ready = 4;
  session.attend(true);
  await settle();
  assert.equal(page.shown, 'b2');
});

test('a person who looks at one batch for an hour keeps the lease', async () => {
  const { server, browser } = await setUp(100);
  const asked = server.asked.length;
  await browser.clock.pass(60 * MINUTE);
  assert.equal(server.asked.length - asked, 15);
});

test('back after long, what others have meanwhile leaves the queue, and the shown one stays if it may', async () => {
  const { server, browser, page, session } = await setUp(30);
  await page.say((s) => s.tie());
  session.attend(false);
  await browser.clock.pass(30 * MINUTE);
  for (const id of ['b2', 'b3', 'b19']) server.others.add(id);
  session.attend(true);
  await settle();
  assert.equal(page.shown, 'b1');
  const ids = session.batches.value.map((one) => one.batch_id);
  assert.deepEqual([ids.includes('b2'), ids.includes('b19'), ids.includes('b22')], [false, false, true]);
  server.others.add('b1');
  session.attend(false);
  await browser.clock.pass(2 * MINUTE);
  session.attend(true);
  await settle();
  assert.equal(page.shown, 'b4');
});

test('a batch that is dropped while a tap on it is about to submit is answered all the same', async () => {
  const { server, browser, page, session } = await setUp(5);
  await browser.clock.pass(1_000);
  server.others.add('b0');
  session.tap(1);
  await session.load();
  assert.equal(page.shown, 'b0');
  await browser.clock.pass(1_000);
  assert.deepEqual([[...server.done], page.shown], [['b0'], 'b1']);
});

test('an answer to a batch that is somebody else’s by now is sent; the server decides what it counts', async () => {
  const { server, browser, page } = await setUp(5);
  server.others.add('b0');
  await page.say((s) => s.tie());
  await browser.clock.pass(500);
  assert.deepEqual([[...server.done], page.refusals.value], [['b0'], []]);
});

test('offline with every fetched batch answered: it says so, and goes on by itself', async () => {
  const { server, browser, page, session } = await setUp(100);
  browser.goOffline();
  for (let i = 0; i < 20; i++) await page.say((s) => s.tie());
  assert.deepEqual([session.phase.value, session.unsent.value, session.held.value], ['away', 20, true]);
  assert.equal(server.answers.size, 0);
  browser.goOnline();
  await browser.clock.pass(30_000);
  assert.deepEqual([server.answers.size, page.shown, session.unsent.value], [20, 'b20', 0]);
});

test('a server that restarts in the middle costs nothing', async () => {
  const { server, browser, page, session } = await setUp(60);
  await page.say((s) => s.tie());
  server.away = true;
  for (let i = 0; i < 10; i++) await page.say((s) => s.tie());
  assert.equal(session.phase.value, 'work');
  server.away = false;
  await browser.clock.pass(31_000);
  assert.deepEqual([server.answers.size, session.unsent.value], [11, 0]);
});

test('a reload without network goes on with what was held, and sends exactly what was answered', async () => {
  const { server, browser, page } = await setUp(100);
  browser.goOffline();
  for (let i = 0; i < 3; i++) await page.say((s) => s.tie());
  page.close();
  const again = await browser.page().open();
  assert.deepEqual([again.shown, again.session.phase.value, again.session.unsent.value], ['b3', 'work', 3]);
  assert.deepEqual(again.session.progress.value, { position: 4, total: 100, mine: 3 });
  assert.equal(again.session.title.value, 'A task');
  await again.say((s) => s.tie());
  browser.goOnline();
  await again.session.load();
  await browser.clock.pass(1_000);
  assert.deepEqual([...server.done].sort(), ['b0', 'b1', 'b2', 'b3']);
  assert.equal(server.answers.size, 4);
  assert.equal(again.shown, 'b4');
});

test('a server that does not answer for long: after 4 s what lies here is shown', async () => {
  const { server, browser, page } = await setUp(30);
  page.close();
  server.gate = new Promise(() => {});
  const again = browser.page();
  void again.session.load();
  await settle();
  await browser.clock.pass(3_900);
  assert.equal(again.session.phase.value, 'loading');
  await browser.clock.pass(100);
  assert.deepEqual([again.session.phase.value, again.shown], ['work', 'b0']);
});

test('what was answered before a reload and not sent yet is not shown again', async () => {
  const { server, browser, page } = await setUp(30);
  await page.say((s) => s.tie());
  page.close();
  const again = browser.page('ann');
  Object.assign(again.outbox, { post: async () => 'later' });
  await again.open();
  assert.equal(server.answers.size, 0);
  assert.deepEqual([again.shown, again.session.progress.value.mine], ['b1', 1]);
});

test('an undo that waits for the network brings its batch back all the same', async () => {
  const { server, browser, page } = await setUp(3);
  await page.say((s) => s.tie());
  await browser.clock.pass(1_000);
  browser.goOffline();
  await page.say((s) => s.undo());
  browser.goOnline();
  await page.session.load();
  await browser.clock.pass(2_000);
  assert.deepEqual([page.shown, server.answers.size], ['b0', 0]);
});

test('what was taken back before a reload and not sent yet is shown again', async () => {
  const { server, browser, page } = await setUp(3);
  await page.say((s) => s.tie());
  await browser.clock.pass(1_000);
  browser.goOffline();
  await page.say((s) => s.undo());
  page.close();
  browser.goOnline();
  const again = await browser.page().open();
  for (let i = 0; i < 3; i++) await again.say((s) => s.tie());
  await browser.clock.pass(2_000);
  assert.deepEqual([server.done.size, again.session.phase.value], [3, 'finished']);
});

test('an answer that waited for the network, was taken back and passed over comes again at the end', async () => {
  const { server, browser, page, session } = await setUp(3);
  browser.goOffline();
  await page.say((s) => s.tie());
  browser.goOnline();
  await session.load();
  await browser.clock.pass(2_000);
  await page.say((s) => s.undo());
  await page.say((s) => s.go(1));
  for (let i = 0; i < 3; i++) await page.say((s) => s.tie());
  await browser.clock.pass(2_000);
  assert.deepEqual([server.done.size, session.phase.value], [3, 'finished']);
});

test('a batch whose answer was refused comes again at the end, for another answer', async () => {
  const { server, browser, page, session } = await setUp(3);
  server.images = 2;
  await page.say((s) => s.choose(0));
  await browser.clock.pass(1_000);
  for (let i = 0; i < 2; i++) await page.say((s) => s.tie());
  assert.equal(page.shown, 'b0');
  await page.say((s) => s.skip());
  await browser.clock.pass(2_000);
  assert.deepEqual([server.done.size, session.phase.value], [3, 'finished']);
});

test('401: the sitting ends, keeps its answers, and goes on after the sign-in', async () => {
  const { server, browser, page, session } = await setUp(60);
  server.status = 401;
  await page.say((s) => s.tie());
  await browser.clock.pass(400);
  assert.deepEqual([session.phase.value, session.unsent.value], ['ended', 1]);
  server.status = 0;
  await page.outbox.signedIn('ann');
  await session.load();
  assert.deepEqual([session.phase.value, page.shown, server.answers.size], ['work', 'b1', 1]);
});

test('401 to the question for more ends the sitting too', async () => {
  const { server, session } = await setUp(60);
  server.status = 401;
  await session.load();
  assert.equal(session.phase.value, 'ended');
  server.status = 0;
  await session.load();
  assert.equal(session.phase.value, 'work');
});

test('leaving inside the app gives back what is held; a reload does not', async () => {
  const { server, browser, page, session } = await setUp(60);
  await page.say((s) => s.tie());
  page.close();
  assert.equal(server.released.length, 0);
  const again = await browser.page().open();
  again.session.leave();
  await settle();
  assert.equal(server.released.length, 20);
  assert.ok(!server.released.includes('b0'));
  assert.equal(session.batches.value.length, 20);
  browser.goOffline();
  const third = await browser.page().open();
  assert.equal(third.session.phase.value, 'away');
});

test('without a database a sitting works as ever', async () => {
  const server = new TaskServer(30);
  const browser = new Browser(server, Promise.resolve(null));
  const page = await browser.page().open();
  await page.say((s) => s.tie());
  await browser.clock.pass(500);
  assert.deepEqual([page.shown, server.answers.size, page.session.lasting.value], ['b1', 1, false]);
});

test('a sitting that is closed does nothing more', async () => {
  const { server, browser, page } = await setUp(100);
  page.close();
  const asked = server.asked.length;
  await browser.clock.pass(60 * MINUTE);
  assert.equal(server.asked.length, asked);
});
