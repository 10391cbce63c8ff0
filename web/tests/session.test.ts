import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../src/label/sender.ts';
import { type Batch, LabelSession, type Standing } from '../src/label/session.ts';

function batch(number: number, images = 4): Batch {
  const each = (size: string) => Array.from({ length: images }, (_, i) => `${size}-${number}-${i}`);
  return {
    batch_id: `b${number}`,
    prompt: `prompt ${number}`,
    seeds: [],
    batch_indexes: [],
    sizes: [[1024, 1024]],
    thumbnails: each('t'),
    previews: each('p'),
    my_annotation: null,
  };
}

/** A task of `ready` batches, of which the first `mine` are answered; a clock that is wound by hand. */
function setUp(options: { ready: number; mine?: number; total?: number; page?: number; images?: number }) {
  const { mine = 0, page = 10, images = 4 } = options;
  const state = { ready: options.ready, generating: false, away: false, missing: false, now: 10_000 };
  const sent: Answer[] = [];
  const pages: (string | null)[] = [];
  let ids = 0;
  const session = new LabelSession('task', {
    async page(cursor) {
      if (state.away) throw new Error('away');
      pages.push(cursor);
      const start = Number(cursor ?? 0);
      const end = Math.min(state.ready, start + page);
      const items = Array.from({ length: end - start }, (_, i) => ({
        ...batch(start + i, images),
        my_annotation: start + i < mine ? {} : null,
      }));
      return { items, next_cursor: end < state.ready ? String(end) : null };
    },
    async standing(): Promise<Standing | null> {
      if (state.away) throw new Error('away');
      if (state.missing) return null;
      const answered = mine + sent.length;
      const { ready, generating } = state;
      return { title: 'x', total: options.total ?? ready, mine: answered, ready, generating };
    },
    send: (answer) => sent.push(answer),
    newId: () => `id-${ids++}`,
    now: () => state.now,
  });
  const say = (act: () => void) => {
    state.now += 1_000;
    act();
  };
  return { session, sent, state, pages, say };
}

test('what this person has answered is passed over, however many pages it fills', async () => {
  const { session } = setUp({ ready: 45, mine: 33 });
  await session.load();
  assert.equal(session.current.value?.batch_id, 'b33');
  assert.deepEqual(session.progress.value, { mine: 33, total: 45 });
});

test('a named picture is chosen and the next batch stands there at once', async () => {
  const { session, sent, say } = setUp({ ready: 5 });
  await session.load();
  say(() => session.name(2));
  assert.deepEqual(
    [sent[0]?.kind, sent[0]?.chosen_index, sent[0]?.rejected_index, sent[0]?.spam],
    ['choice', 2, null, false],
  );
  assert.equal(session.current.value?.batch_id, 'b1');
  assert.deepEqual(session.progress.value, { mine: 1, total: 5 });
});

test('reject first, then choose: both go into one answer', async () => {
  const { session, sent, say } = setUp({ ready: 5 });
  await session.load();
  say(() => session.toggleRejecting());
  say(() => session.name(1));
  assert.equal(sent.length, 0);
  say(() => session.name(0));
  assert.deepEqual([sent[0]?.chosen_index, sent[0]?.rejected_index], [0, 1]);
  assert.equal(session.rejected.value, null);
});

test('the rejected picture is never the chosen one: naming it again takes the rejection back', async () => {
  const { session, sent, say } = setUp({ ready: 5 });
  await session.load();
  say(() => session.toggleRejecting());
  say(() => session.name(1));
  say(() => session.name(1));
  assert.deepEqual([sent.length, session.rejected.value], [0, null]);
  say(() => session.name(1));
  assert.deepEqual([sent[0]?.chosen_index, sent[0]?.rejected_index], [1, null]);
});

for (const kind of ['tie', 'spam', 'skip'] as const) {
  test(`${kind} names no picture, whatever was marked before`, async () => {
    const { session, sent, say } = setUp({ ready: 5 });
    await session.load();
    say(() => session.toggleRejecting());
    say(() => session.name(1));
    say(() => session.answer(kind));
    assert.deepEqual(
      [sent[0]?.kind, sent[0]?.chosen_index, sent[0]?.rejected_index, sent[0]?.spam],
      [kind, null, null, kind === 'spam'],
    );
  });
}

test('a number beyond the pictures says nothing', async () => {
  const { session, sent, say } = setUp({ ready: 5, images: 2 });
  await session.load();
  say(() => session.name(2));
  assert.equal(sent.length, 0);
});

test('the second half of a double tap does not answer the next batch', async () => {
  const { session, sent, state, say } = setUp({ ready: 5 });
  await session.load();
  say(() => session.name(0));
  state.now += 100;
  session.name(0);
  assert.equal(sent.length, 1);
  state.now += 100;
  session.name(0);
  assert.equal(sent.length, 2);
});

test('back shows the last batch with its answer, and a new answer has a new id', async () => {
  const { session, sent, say } = setUp({ ready: 5 });
  await session.load();
  say(() => session.toggleRejecting());
  say(() => session.name(3));
  say(() => session.name(0));
  say(() => session.back());
  assert.equal(session.current.value?.batch_id, 'b0');
  assert.equal(session.rejected.value, 3);
  say(() => session.name(1));
  assert.deepEqual(
    sent.map((answer) => [answer.batch_id, answer.chosen_index, answer.client_id]),
    [
      ['b0', 0, 'id-0'],
      ['b0', 1, 'id-1'],
    ],
  );
  assert.equal(session.progress.value.mine, 1);
});

test('every batch is shown once, page by page, and then the task is finished', async () => {
  const { session, sent, say } = setUp({ ready: 73 });
  await session.load();
  while (session.phase.value === 'work') {
    say(() => session.answer('tie'));
    await session.load();
  }
  assert.equal(session.phase.value, 'finished');
  assert.equal(new Set(sent.map((answer) => answer.batch_id)).size, 73);
  assert.equal(sent.length, 73);
});

test('while images are being made it waits, and shows what has come since', async () => {
  const { session, state, pages, say } = setUp({ ready: 2, total: 4 });
  state.generating = true;
  await session.load();
  say(() => session.answer('tie'));
  say(() => session.answer('tie'));
  await session.load();
  assert.equal(session.phase.value, 'waiting');
  const asked = pages.length;
  await session.load();
  assert.equal(pages.length, asked, 'nothing is ready that was not: no page is asked for');
  state.ready = 4;
  state.generating = false;
  await session.load();
  assert.equal(session.current.value?.batch_id, 'b2');
  assert.deepEqual(session.progress.value, { mine: 2, total: 4 });
});

test('a server that is away is asked again', async () => {
  const { session, state } = setUp({ ready: 3 });
  state.away = true;
  await session.load();
  assert.equal(session.phase.value, 'away');
  state.away = false;
  await session.load();
  assert.equal(session.phase.value, 'work');
});

test('a task with nothing to judge is gone, until it has something', async () => {
  const { session, state } = setUp({ ready: 3 });
  state.missing = true;
  await session.load();
  assert.equal(session.phase.value, 'gone');
  state.missing = false;
  await session.load();
  assert.equal(session.phase.value, 'work');
});

test('pictures with new addresses take the place of the old ones', async () => {
  const { session, pages } = setUp({ ready: 25 });
  await session.load();
  const before = session.batches.value[20];
  await session.renew('b20');
  assert.notEqual(session.batches.value[20], before);
  assert.equal(session.batches.value[20]?.batch_id, 'b20');
  assert.equal(pages.at(-1), '20');
});
