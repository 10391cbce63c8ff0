import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetOthers, HeldBatches, tasksHeldBy } from '../src/engine/held.ts';
import { openStorage } from '../src/engine/storage.ts';

const PEOPLE = ['ann', 'bob', 'cleo'];

test('on a shared device a person finds their own batches and nobody else’s', async () => {
  const database = await openStorage('shared');
  const held = new Map(PEOPLE.map((who) => [who, new HeldBatches(Promise.resolve(database), who, 'task')]));
  for (const [who, batches] of held) {
    await batches.keep([{ batch_id: `batch of ${who}` }]);
    await batches.saveState({ of: who });
  }

  assert.equal(await forgetOthers(database, 'bob'), true);

  assert.deepEqual(await tasksHeldBy(database, 'bob'), ['task']);
  assert.deepEqual((await held.get('bob')?.load())?.state, { of: 'bob' });
  for (const who of ['ann', 'cleo']) {
    assert.deepEqual(await held.get(who)?.load(), { batches: [], state: null });
  }
  assert.equal(await forgetOthers(database, 'bob'), false);
});
