import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AnswersAnyway } from '../src/engine/answers.ts';
import type { Entry } from '../src/engine/outbox.ts';
import { openStorage } from '../src/engine/storage.ts';
import { Browser, type Page, settle, TaskServer, until } from './support.ts';

function entry(clientId: string, change: Partial<Entry> = {}): Entry {
  const user_id = change.user_id ?? 'ann';
  const batch_id = change.batch_id ?? clientId;
  const body = { client_id: clientId, user_id, batch_id, kind: 'tie' };
  return { user_id, user_name: user_id, task_id: 'task', batch_id, client_id: clientId, body, ...change };
}

function undoOf(clientId: string, own: string): Entry {
  return entry(own, { body: { undo_of: clientId, client_id: own, user_id: 'ann' } });
}

async function setUp(userId = 'ann') {
  const server = new TaskServer(50);
  const browser = new Browser(server);
  const page = browser.page(userId);
  await settle();
  return { server, browser, page, box: page.outbox };
}

const sentIds = (server: TaskServer) => server.lists.map((list) => list.map((one) => one.client_id));

test('answers of one moment leave together after 400 ms, in the order given', async () => {
  const { server, browser, box, page } = await setUp();
  for (const id of ['a', 'b', 'c']) await box.put(entry(id));
  await browser.clock.pass(399);
  assert.deepEqual([server.lists.length, page.state.value.unsent], [0, 3]);
  await browser.clock.pass(1);
  assert.deepEqual(sentIds(server), [['a', 'b', 'c']]);
  assert.deepEqual(page.state.value, { unsent: 0, held: null, lasting: true });
});

test('never more than fifty in a list, and the rest follows at once', async () => {
  const { server, browser, box, page } = await setUp();
  for (let i = 0; i < 120; i++) await box.put(entry(`n${i}`));
  await browser.clock.pass(400);
  await until(() => page.state.value.unsent === 0);
  assert.deepEqual(
    server.lists.map((list) => list.length),
    [50, 50, 20],
  );
  assert.equal(server.answers.size, 120);
});

test('the same client_id twice is one answer', async () => {
  const { server, browser, box } = await setUp();
  await box.put(entry('a'));
  await box.put(entry('a'));
  await browser.clock.pass(400);
  assert.deepEqual(sentIds(server), [['a']]);
});

test('a server that is away is asked again after 1, 2, 4 ... 30 s and not in between', async () => {
  const { server, browser, box, page } = await setUp();
  server.away = true;
  await box.put(entry('a'));
  await browser.clock.pass(400);
  await box.put(entry('b'));
  assert.deepEqual([server.lists.length, page.state.value.unsent, page.state.value.held], [1, 2, 'later']);
  for (const [seconds, lists] of [
    [1, 2],
    [2, 3],
    [4, 4],
    [8, 5],
    [16, 6],
    [30, 7],
    [30, 8],
  ] as const) {
    await browser.clock.pass(seconds * 1000 - 1);
    assert.equal(server.lists.length, lists - 1);
    await browser.clock.pass(1);
    assert.equal(server.lists.length, lists);
  }
  server.away = false;
  await box.flush();
  assert.deepEqual([[...server.answers.keys()], page.state.value.held], [['a', 'b'], null]);
});

test('without a network nothing leaves, so that an undo costs no request', async () => {
  const { server, browser, box, page } = await setUp();
  browser.goOffline();
  await box.put(entry('a'));
  await browser.clock.pass(60_000);
  assert.deepEqual([server.lists.length, page.state.value], [0, { unsent: 1, held: 'later', lasting: true }]);
  await box.takeBack('a', undoOf('a', 'u'));
  browser.goOnline();
  await box.flush();
  assert.deepEqual([server.lists.length, page.state.value.unsent], [0, 0]);
});

test('one bad answer in a list of fifty is told, and the other forty-nine are stored', async () => {
  const { server, browser, box, page } = await setUp();
  for (let i = 0; i < 50; i++) {
    const body = { client_id: `n${i}`, user_id: 'ann', batch_id: `b${i}`, chosen_index: i === 20 ? 9 : 0 };
    await box.put(entry(`n${i}`, { batch_id: `b${i}`, body }));
  }
  await browser.clock.pass(400);
  await until(() => page.state.value.unsent === 0);
  assert.deepEqual([server.lists.length, server.answers.size], [1, 49]);
  assert.deepEqual(page.refusals.value, [{ client_id: 'n20', batch_id: 'b20', words: 'This batch has 4 images.' }]);
});

test('a list that is refused whole is sent one by one, and only what spoils it is lost', async () => {
  const { server, browser, page } = await setUp();
  const post = server.post;
  const lists: number[] = [];
  const spoilt = browser.page('ann');
  await settle();
  Object.assign(spoilt.outbox, {
    post: async (bodies: readonly { client_id: string }[]) => {
      lists.push(bodies.length);
      return bodies.some((one) => one.client_id === 'bad') ? { refused: 'Too deep.' } : post(bodies);
    },
  });
  page.close();
  for (const id of ['a', 'bad', 'b']) await spoilt.outbox.put(entry(id));
  await browser.clock.pass(400);
  assert.deepEqual(lists, [3, 1, 1, 1]);
  assert.deepEqual(
    [[...server.answers.keys()], spoilt.refusals.value.map((one) => one.words)],
    [['a', 'b'], ['Too deep.']],
  );
});

test('401 with unsent answers: they wait for the sign-in and not for the clock', async () => {
  const { server, browser, box, page } = await setUp();
  server.status = 401;
  await box.put(entry('a'));
  await browser.clock.pass(400);
  await box.put(entry('b'));
  await browser.clock.pass(600_000);
  assert.deepEqual([server.lists.length, page.state.value.held, page.state.value.unsent], [1, 'signed out', 2]);
  server.status = 0;
  await box.signedIn('ann');
  assert.deepEqual([[...server.answers.keys()], page.state.value.held], [['a', 'b'], null]);
});

test('another person on the same phone sends nothing of the first, who sends it later', async () => {
  const { server, browser, box, page } = await setUp();
  browser.goOffline();
  for (const id of ['a', 'b', 'c']) await box.put(entry(id));
  page.close();
  browser.goOnline();
  server.cookie = 'bob';
  const bobs = browser.page('bob');
  await settle();
  await bobs.outbox.put(entry('d', { user_id: 'bob' }));
  await browser.clock.pass(60_000);
  assert.deepEqual([[...server.answers.keys()], bobs.state.value.unsent], [['d'], 0]);
  assert.deepEqual(await bobs.outbox.counts(), [{ user_id: 'ann', name: 'ann', count: 3 }]);
  bobs.close();
  server.cookie = 'ann';
  browser.page('ann');
  await settle();
  assert.deepEqual(
    [...server.answers.values()].map((one) => one.user_id),
    ['bob', 'ann', 'ann', 'ann'],
  );
});

test('the cookie is of somebody else by now: the answers are kept, and the page is told', async () => {
  const { server, browser, box, page } = await setUp();
  server.cookie = 'bob';
  await box.put(entry('a'));
  await browser.clock.pass(60_000);
  assert.deepEqual([server.answers.size, server.lists.length], [0, 1]);
  assert.deepEqual([page.state.value, page.refusals.value], [{ unsent: 1, held: 'someone else', lasting: true }, []]);
  server.cookie = 'ann';
  await box.signedIn('ann');
  assert.equal(server.answers.size, 1);
});

test('offline, then a reload: exactly what was answered arrives, each once', async () => {
  const { server, browser, box, page } = await setUp();
  browser.goOffline();
  for (const id of ['a', 'b', 'c']) await box.put(entry(id));
  page.close();
  const reloaded = browser.page('ann');
  await settle();
  assert.equal(reloaded.state.value.unsent, 3);
  browser.goOnline();
  await reloaded.outbox.flush();
  assert.deepEqual(sentIds(server), [['a', 'b', 'c']]);
  assert.equal(server.answers.size, 3);
});

for (const hasLocks of [true, false]) {
  test(`two tabs ${hasLocks ? 'send each answer once' : 'without locks store each answer once'}`, async () => {
    const { server, browser, page } = await setUp();
    browser.hasLocks = hasLocks;
    const other = browser.page('ann');
    await settle();
    let open = () => {};
    server.gate = new Promise((resolve) => (open = () => resolve()));
    await page.outbox.put(entry('a'));
    await other.outbox.put(entry('b'));
    void page.outbox.flush();
    void other.outbox.flush();
    await settle();
    open();
    await browser.clock.pass(2_000);
    assert.deepEqual([...server.answers.keys()].sort(), ['a', 'b']);
    assert.deepEqual([page.state.value.unsent, other.state.value.unsent], [0, 0]);
    if (hasLocks) assert.deepEqual(sentIds(server).flat().sort(), ['a', 'b']);
  });
}

test('undo before sending withdraws: nothing was ever there', async () => {
  const { server, browser, box } = await setUp();
  await box.put(entry('a'));
  await box.takeBack('a', undoOf('a', 'u'));
  await browser.clock.pass(1_000);
  assert.deepEqual(server.lists, []);
});

test('undo after sending follows as an entry of its own', async () => {
  const { server, browser, box } = await setUp();
  await box.put(entry('a'));
  await browser.clock.pass(400);
  await box.takeBack('a', undoOf('a', 'u'));
  await browser.clock.pass(400);
  assert.deepEqual([sentIds(server), server.answers.size], [[['a'], ['u']], 0]);
});

test('undo while its answer is in flight comes after it, and before what is answered next', async () => {
  const { server, browser, box } = await setUp();
  let open = () => {};
  server.gate = new Promise((resolve) => (open = () => resolve()));
  await box.put(entry('a'));
  await browser.clock.pass(400);
  const undone = box.takeBack('a', undoOf('a', 'u'));
  const again = box.put(entry('c', { batch_id: 'a' }));
  await Promise.all([undone, again]);
  open();
  await browser.clock.pass(1_000);
  assert.deepEqual(sentIds(server), [['a'], ['u', 'c']]);
  assert.deepEqual([...server.answers.keys()], ['c']);
});

test('an undo of an answer that was refused is no complaint of its own', async () => {
  const { server, browser, box, page } = await setUp();
  const body = { client_id: 'a', user_id: 'ann', batch_id: 'b0', chosen_index: 9 };
  await box.put(entry('a', { body }));
  await browser.clock.pass(400);
  await box.takeBack('a', undoOf('a', 'u'));
  await browser.clock.pass(400);
  assert.deepEqual([page.refusals.value.length, page.state.value.unsent, server.answers.size], [1, 0, 0]);
});

test('a clock that is set back or forward changes nothing', async (context) => {
  const { server, browser, box } = await setUp();
  browser.goOffline();
  const times = [1e12, 2e12, 5];
  context.mock.method(Date, 'now', () => times.shift() ?? 0);
  for (const id of ['a', 'b', 'c']) await box.put(entry(id));
  browser.goOnline();
  await box.flush();
  assert.deepEqual(sentIds(server), [['a', 'b', 'c']]);
});

test('without a database answers live in the page, are sent all the same, and the page says so', async () => {
  const server = new TaskServer(5);
  const browser = new Browser(server, Promise.resolve(null));
  const page: Page = browser.page('ann');
  await page.outbox.put(entry('a'));
  assert.deepEqual(page.state.value, { unsent: 1, held: null, lasting: false });
  await page.outbox.put(entry('b'));
  await page.outbox.takeBack('b', undoOf('b', 'u'));
  await browser.clock.pass(400);
  assert.deepEqual([[...server.answers.keys()], page.state.value.unsent], [['a'], 0]);
});

test('a database that takes no more (a full disk) loses no answer', async () => {
  const { server, browser, box, page } = await setUp();
  await box.put(entry('a'));
  (await browser.database)?.close();
  await box.put(entry('b'));
  assert.deepEqual([page.state.value.lasting, page.state.value.unsent], [false, 1]);
  await browser.clock.pass(400);
  assert.deepEqual([...server.answers.keys()], ['b']);
});

/** As a full disk does it: the transaction fails, and what was there stays. */
function refuse(context: TestContext, method: 'put' | 'delete'): void {
  context.mock.method(IDBObjectStore.prototype, method, () => {
    throw new DOMException('No room.', 'QuotaExceededError');
  });
}

test('a disk too full to note that answers have left sends them, and an undo follows its answer', async (context) => {
  const { server, browser, box, page } = await setUp();
  await box.put(entry('a'));
  await box.put(entry('b'));
  refuse(context, 'put');
  let open = () => {};
  server.gate = new Promise((resolve) => (open = () => resolve()));
  await browser.clock.pass(400);
  await box.takeBack('a', undoOf('a', 'u'));
  open();
  await browser.clock.pass(1_000);
  assert.deepEqual(sentIds(server), [['a', 'b'], ['u']]);
  assert.deepEqual([[...server.answers.keys()], page.state.value.unsent], [['b'], 0]);
});

test('what the database does not let go of is not sent again and again', async (context) => {
  const { server, browser, box, page } = await setUp();
  await box.put(entry('a'));
  refuse(context, 'delete');
  await browser.clock.pass(400);
  await box.put(entry('b'));
  await browser.clock.pass(60_000);
  assert.deepEqual(sentIds(server), [['a'], ['b']]);
  assert.deepEqual([page.state.value.unsent, await box.counts()], [0, []]);
});

test('a database that the phone closed while the page slept is opened again, and its answers are seen', async () => {
  const name = 'closed by the phone';
  const database = openStorage(name);
  const store = new AnswersAnyway(database, () => openStorage(name));
  await store.add(entry('a'));
  (await database)?.close();
  assert.deepEqual([await store.count('ann'), (await store.of('ann')).length], [1, 1]);
  await store.add(entry('b'));
  assert.deepEqual(
    (await store.take('ann', 50)).map((one) => one.client_id),
    ['a', 'b'],
  );
  assert.equal(store.lasting, true);
});
