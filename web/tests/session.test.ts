import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { World } from '../src/label/session.ts';
import { batch, Browser, type Page, settle, TaskServer, until } from './support.ts';

async function setUp(ready: number, change: { batches?: number; world?: Partial<World> } = {}) {
  const server = new TaskServer(ready, change.batches ?? ready);
  const browser = new Browser(server);
  const page = await browser.page('ann', change.world).open();
  return { server, browser, page, session: page.session };
}

/** What the server has, once everything is sent. */
async function stored(page: Page) {
  await settle();
  await page.browser.clock.pass(500);
  return [...page.browser.server.answers.values()];
}

test('a place is answered as the candidate that stands there, with the order that was dealt', async () => {
  const { page } = await setUp(5);
  await page.say((s) => s.toggleRejecting());
  await page.say((s) => s.choose(1));
  await page.say((s) => s.choose(0));
  assert.equal(page.shown, 'b1');
  const [answer] = await stored(page);
  assert.deepEqual(
    [answer?.kind, answer?.chosen_index, answer?.rejected_index, answer?.slot_order, answer?.user_id],
    ['choice', 3, 2, [3, 2, 1, 0], 'ann'],
  );
  assert.equal(answer?.elapsed_ms, 3_000);
});

for (const kind of ['tie', 'spam', 'skip'] as const) {
  test(`${kind} names no picture, whatever was marked before`, async () => {
    const { page } = await setUp(5);
    await page.say((s) => s.reject(1));
    await page.say((s) => s[kind]());
    const [answer] = await stored(page);
    assert.deepEqual(
      [answer?.kind, answer?.chosen_index, answer?.rejected_index, answer?.spam],
      [kind, null, null, kind === 'spam'],
    );
  });
}

test('a tap on a picture marks it, and submits after 260 ms', async () => {
  const { page, session, browser } = await setUp(5);
  await page.say((s) => s.tap(2));
  assert.deepEqual([session.chosen.value, page.shown], [2, 'b0']);
  await browser.clock.pass(259);
  assert.equal(page.shown, 'b0');
  await browser.clock.pass(1);
  assert.equal(page.shown, 'b1');
  const [answer] = await stored(page);
  assert.deepEqual([answer?.chosen_index, answer?.elapsed_ms], [1, 1_000]);
});

test('a double tap zooms: it takes the mark back and answers nothing', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => {
    s.tap(2);
    s.untap();
  });
  assert.deepEqual([session.chosen.value, await stored(page)], [null, []]);
});

test('while a second finger is down nothing is submitted, however long it stays', async () => {
  const { page, session, browser } = await setUp(5);
  await page.say((s) => s.tap(2));
  await browser.clock.pass(200);
  session.touch(true);
  await browser.clock.pass(900);
  assert.deepEqual([page.shown, session.chosen.value], ['b0', 2]);
  session.touch(false);
  session.untap();
  await browser.clock.pass(900);
  assert.deepEqual([page.shown, await stored(page)], ['b0', []]);
  await page.say((s) => {
    s.tap(1);
    s.touch(true);
  });
  await browser.clock.pass(300);
  session.touch(false);
  await browser.clock.pass(260);
  assert.equal(page.shown, 'b1', 'it was no double tap: the answer goes its way');
});

test('the second half of a double tap does not answer the next batch, however late a slow phone hears of it', async () => {
  const { page, session, browser } = await setUp(5);
  await browser.clock.pass(1_000);
  const touched = browser.clock.now;
  session.choose(0, touched);
  await browser.clock.pass(300);
  session.painted();
  session.choose(0, touched + 120);
  session.choose(0);
  assert.equal(session.answers.value.size, 1);
  await browser.clock.pass(150);
  session.choose(0);
  await settle();
  assert.equal(page.shown, 'b2');
});

test('time runs from when a batch is on the screen, and no setting of the clock changes it', async (context) => {
  const { page, session, browser } = await setUp(5);
  context.mock.method(Date, 'now', () => -5e12);
  await browser.clock.pass(700);
  session.painted();
  session.painted();
  await browser.clock.pass(900);
  session.choose(0);
  assert.equal((await stored(page))[0]?.elapsed_ms, 900);
});

test('a long press marks the rejected one, a second takes that back; choosing it does too', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => s.reject(1));
  assert.equal(session.rejected.value, 1);
  await page.say((s) => s.reject(1));
  assert.equal(session.rejected.value, null);
  await page.say((s) => s.reject(1));
  await page.say((s) => s.choose(1));
  assert.deepEqual([session.rejected.value, page.shown], [null, 'b0']);
});

test('a place that the batch does not have says nothing', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => s.choose(4));
  await page.say((s) => s.tap(-1));
  assert.deepEqual([session.answers.value.size, session.chosen.value], [0, null]);
});

test('one undo takes back the chosen and the rejected; before sending nothing was ever there', async () => {
  const { page, session, server } = await setUp(5);
  await page.say((s) => s.reject(1));
  await page.say((s) => s.choose(0));
  session.undo();
  await settle();
  assert.deepEqual(
    [page.shown, session.chosen.value, session.rejected.value, session.undoable.value],
    ['b0', null, null, false],
  );
  assert.deepEqual([await stored(page), server.lists], [[], []]);
});

test('choosing the same after an undo submits it', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => s.choose(0));
  session.undo();
  await page.say((s) => s.choose(0));
  const answers = await stored(page);
  assert.deepEqual([answers.length, answers[0]?.batch_id, page.shown], [1, 'b0', 'b1']);
});

test('undo goes back as far as the sitting, sent or not', async () => {
  const { page, session, server } = await setUp(200);
  for (let i = 0; i < 150; i++) await page.say((s) => s.tie());
  await stored(page);
  assert.equal(server.answers.size, 150);
  for (let i = 149; i >= 0; i--) {
    session.undo();
    await settle();
    assert.equal(page.shown, `b${i}`);
  }
  await stored(page);
  await until(() => page.state.value.unsent === 0);
  assert.equal(server.answers.size, 0);
  assert.equal(session.undoable.value, false);
  assert.equal(session.progress.value.mine, 0);
});

test('undo within the grace of a tap only takes the mark back', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => s.tie());
  await page.say((s) => {
    s.tap(1);
    s.undo();
  });
  assert.deepEqual([page.shown, session.chosen.value, session.answers.value.size], ['b1', null, 1]);
});

test('undo while its answer is in flight takes it back after it has arrived', async () => {
  const { page, session, server, browser } = await setUp(5);
  let open = () => {};
  await page.say((s) => s.choose(0));
  server.gate = new Promise((resolve) => (open = () => resolve()));
  await browser.clock.pass(400);
  session.undo();
  await page.say((s) => s.choose(2));
  open();
  const answers = await stored(page);
  assert.deepEqual(
    answers.map((one) => [one.batch_id, one.chosen_index]),
    [['b0', 1]],
  );
});

test('an answered batch shows its answer on the way back, and may be answered anew', async () => {
  const { page, session } = await setUp(5);
  await page.say((s) => s.reject(3));
  await page.say((s) => s.choose(0));
  await page.say((s) => s.go(-1));
  assert.deepEqual([page.shown, session.chosen.value, session.rejected.value], ['b0', 0, 3]);
  await page.say((s) => s.choose(1));
  assert.deepEqual([page.shown, session.progress.value.mine], ['b1', 1]);
});

test('what was passed over comes again at the end', async () => {
  const { page } = await setUp(3);
  await page.say((s) => s.go(1));
  await page.say((s) => s.tie());
  await page.say((s) => s.tie());
  assert.equal(page.shown, 'b0');
  await page.say((s) => s.tie());
  assert.equal(page.session.phase.value, 'finished');
});

test('arrows stay within the batches', async () => {
  const { page } = await setUp(2);
  await page.say((s) => s.go(-1));
  assert.equal(page.shown, 'b0');
  await page.say((s) => s.go(1));
  await page.say((s) => s.go(1));
  assert.equal(page.shown, 'b1');
});

test('position n of m counts what was done before', async () => {
  const { page, server, browser } = await setUp(30);
  await page.say((s) => s.tie());
  await page.say((s) => s.tie());
  assert.deepEqual(page.session.progress.value, { position: 3, total: 30, mine: 2 });
  await stored(page);
  page.close();
  const again = await browser.page('ann').open();
  assert.deepEqual(again.session.progress.value, { position: 3, total: 30, mine: 2 });
  assert.equal(server.answers.size, 2);
  assert.equal(again.session.positionOf(1), 4);
});

test('looking at one candidate at a time', async () => {
  const { page, session } = await setUp(3);
  session.toggleMode();
  session.look(3);
  session.look(4);
  assert.deepEqual([session.mode.value, session.place.value], ['single', 3]);
  await page.say((s) => s.choose(3));
  assert.deepEqual([session.mode.value, session.place.value], ['single', 0]);
});

test('a refused answer is told and holds nothing back', async () => {
  const { page, server } = await setUp(5);
  server.images = 2;
  await page.say((s) => s.choose(0));
  await page.say((s) => s.choose(3));
  const answers = await stored(page);
  assert.deepEqual([answers.length, page.refusals.value.map((one) => one.batch_id)], [1, ['b0']]);
});

test('the variant decides the size of the pictures', async () => {
  const { session, server } = await setUp(5);
  const next = server.next.bind(server);
  server.next = async (...ask) => ({
    ...(await next(...ask)),
    variant: { key: 'large', image_size: 1024, prefetch_batches: 1, cdn_url: null },
  });
  await session.load();
  session.sharp.value = 'thumbnails';
  assert.deepEqual([session.variant.value?.key, session.size.value], ['large', 'previews']);
});

test('what the page brought is shown before anything is asked', async () => {
  const server = new TaskServer(40);
  const browser = new Browser(server);
  const next = { ...(await server.next([], 1, false)), items: [batch(7)] };
  let open = () => {};
  server.gate = new Promise((resolve) => (open = () => resolve()));
  const page = browser.page('ann', {
    beginning: { next, standing: { title: 'T', total: 40, blind: true, coming: 0 } },
  });
  void page.session.load();
  await settle();
  assert.deepEqual([page.shown, page.session.title.value, page.session.blind.value], ['b7', 'T', true]);
  open();
  await settle();
  assert.deepEqual(server.asked.at(-1)?.have, ['b7']);
  assert.deepEqual([page.shown, page.session.batches.value.length], ['b7', 20]);
});

/** A page that came with a batch which nobody holds, and a server that has not said yet whose it is. */
async function peeking() {
  const server = new TaskServer(40);
  const browser = new Browser(server);
  const items = [{ ...batch(7), leased_until: null }];
  const next = { ...(await server.next([], 1, false)), items };
  let open = () => {};
  server.gate = new Promise((resolve) => (open = () => resolve()));
  const standing = { title: 'T', total: 40, blind: false, coming: 0 };
  const page = browser.page('ann', { beginning: { next, standing } });
  void page.session.load();
  await settle();
  return { server, page, session: page.session, open };
}

test('a batch that was only looked at is answered as soon as it is this person’s', async () => {
  const { server, page, session, open } = await peeking();
  await page.say((s) => s.choose(2));
  assert.deepEqual([page.shown, session.chosen.value, session.answers.value.size], ['b7', 2, 0]);
  open();
  await settle();
  assert.equal(page.shown, 'b0');
  const [answer] = await stored(page);
  assert.deepEqual([answer?.batch_id, answer?.chosen_index, answer?.elapsed_ms], ['b7', 1, 1_000]);
  assert.equal(server.answers.size, 1);
});

test('a batch that was only looked at and is somebody else’s by now gets no second answer', async () => {
  const { server, page, open } = await peeking();
  await page.say((s) => s.choose(2));
  server.others.add('b7');
  open();
  await settle();
  assert.deepEqual([page.shown, await stored(page)], ['b0', []]);
});

test('an answer that waits for the server can be undone, and is given where there is no server', async () => {
  const { server, page, session, open } = await peeking();
  await page.say((s) => s.choose(2));
  session.undo();
  assert.equal(session.chosen.value, null);
  await page.say((s) => s.spam());
  server.away = true;
  open();
  await settle();
  assert.deepEqual([session.answers.value.get('b7')?.kind, session.phase.value], ['spam', 'away']);
});

test('a page that was open for a month says so with a number that the server takes', async () => {
  const { page, session, browser } = await setUp(5);
  session.attend(false);
  await browser.clock.pass(40 * 24 * 3_600_000);
  session.tie();
  const [answer] = await stored(page);
  assert.equal(answer?.elapsed_ms, 2 ** 31 - 1);
});
