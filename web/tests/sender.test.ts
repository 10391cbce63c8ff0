import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Outcome, Sender } from '../src/label/sender.ts';

function answer(id: string): Answer {
  return {
    task_id: 't',
    batch_id: id,
    kind: 'tie',
    chosen_index: null,
    rejected_index: null,
    spam: false,
    client_id: id,
    elapsed_ms: 900,
  };
}

/** A server whose next outcomes are given, and a clock that is wound by hand. */
function setUp(outcomes: Outcome[] = []) {
  const posted: string[] = [];
  const waits: number[] = [];
  const alarms: (() => void)[] = [];
  const sender = new Sender(
    async (one) => {
      posted.push(one.client_id);
      return outcomes.shift() ?? 'stored';
    },
    (run, ms) => {
      waits.push(ms);
      alarms.push(run);
    },
  );
  const settle = () => new Promise(setImmediate);
  const ring = async () => {
    alarms.shift()?.();
    await settle();
  };
  return { sender, posted, waits, settle, ring };
}

test('answers leave in the order they were given', async () => {
  const { sender, posted, settle } = setUp();
  for (const id of ['a', 'b', 'c']) sender.put(answer(id));
  assert.equal(sender.unsent.value, 3);
  await settle();
  assert.deepEqual([posted, sender.held.value], [['a', 'b', 'c'], false]);
  assert.equal(sender.unsent.value, 0);
});

test('what could not be sent is kept, counted, and sent again under the same id', async () => {
  const { sender, posted, waits, settle, ring } = setUp(['later', 'later', 'later']);
  sender.put(answer('a'));
  await settle();
  sender.put(answer('b'));
  await settle();
  assert.deepEqual([posted, sender.unsent.value, sender.held.value], [['a'], 2, true]);
  await ring();
  await ring();
  assert.deepEqual(waits, [1000, 2000, 4000]);
  await ring();
  assert.deepEqual(posted, ['a', 'a', 'a', 'a', 'b']);
  assert.deepEqual([sender.unsent.value, sender.held.value], [0, false]);
});

test('waits grow to half a minute and no further', async () => {
  const { sender, waits, settle, ring } = setUp(Array<Outcome>(9).fill('later'));
  sender.put(answer('a'));
  await settle();
  for (let i = 0; i < 8; i++) await ring();
  assert.equal(Math.max(...waits), 30_000);
});

test('the network is back: the answers leave at once, and the old wait does nothing', async () => {
  const { sender, posted, settle, ring } = setUp(['later']);
  sender.put(answer('a'));
  await settle();
  await sender.flush();
  await ring();
  assert.deepEqual(posted, ['a', 'a']);
});

test('a refused answer is told and does not hold back the others', async () => {
  const { sender, posted, settle } = setUp([{ refused: 'This batch has 3 images.' }]);
  sender.put(answer('a'));
  sender.put(answer('b'));
  await settle();
  assert.deepEqual(posted, ['a', 'b']);
  assert.equal(sender.refused.value, 'This batch has 3 images.');
  assert.equal(sender.unsent.value, 0);
});

test('after a sign-out answers wait for the sign-in, not for the clock', async () => {
  const { sender, waits, posted, settle } = setUp(['signed out']);
  sender.put(answer('a'));
  await settle();
  assert.deepEqual([sender.unsent.value, waits], [1, []]);
  await sender.flush();
  assert.deepEqual([sender.unsent.value, posted], [0, ['a', 'a']]);
});
