import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAST_RETRY_MS, LiveLine, OFTEN_MS, SELDOM_MS, type Stream } from '../src/live/line.ts';
import { Clock, settle } from './support.ts';

class Wire implements Stream {
  readyState = 0;
  private readonly hearers = new Map<string, ((event: { data?: unknown }) => void)[]>();

  addEventListener(kind: string, hear: (event: { data?: unknown }) => void): void {
    this.hearers.set(kind, [...(this.hearers.get(kind) ?? []), hear]);
  }

  close(): void {
    this.readyState = 2;
  }

  says(kind: string, data?: unknown): void {
    for (const hear of this.hearers.get(kind) ?? []) hear({ data: JSON.stringify(data) });
  }

  opens(): void {
    this.readyState = 1;
    this.says('open');
  }

  /** The browser opens it again by itself. */
  breaks(): void {
    this.readyState = 0;
    this.says('error');
  }

  isRefused(): void {
    this.readyState = 2;
    this.says('error');
  }
}

/** A page that shows a number, and a server that has one. */
class Desk {
  readonly clock = new Clock();
  readonly wires: Wire[] = [];
  readonly complaints: unknown[] = [];
  shown: number | null = null;
  truth = 0;
  asked = 0;
  hidden = false;
  answers: (() => void)[] | null = null;
  fails = false;
  readonly line = new LiveLine(
    {
      address: '/events',
      on: { number: (value: number) => (this.shown = value) },
      ask: async () => {
        this.asked += 1;
        const found = this.truth;
        if (this.answers) await new Promise<void>((done) => this.answers?.push(done));
        if (this.fails) throw new Error('away');
        return () => (this.shown = found);
      },
    },
    {
      open: () => {
        this.wires.push(new Wire());
        return this.wire;
      },
      later: this.clock.later,
      hidden: () => this.hidden,
      complain: (error) => this.complaints.push(error),
    },
  );

  get wire(): Wire {
    return this.wires.at(-1) as Wire;
  }

  async started(): Promise<this> {
    this.line.start();
    this.wire.opens();
    await settle();
    return this;
  }
}

test('it asks once, then hears what changes, and asks seldom while the stream holds', async () => {
  const desk = await new Desk().started();
  assert.deepEqual([desk.asked, desk.shown], [1, 0]);

  desk.wire.says('number', 7);
  assert.equal(desk.shown, 7);

  await desk.clock.pass(SELDOM_MS - 1);
  assert.equal(desk.asked, 1);
  await desk.clock.pass(1);
  assert.equal(desk.asked, 2);
});

test('without a stream it asks as often as before there were events', async () => {
  const desk = new Desk();
  desk.line.start();
  desk.wire.isRefused();
  await settle();

  await desk.clock.pass(10 * OFTEN_MS);

  assert.equal(desk.asked, 11);
});

test('a stream that breaks is made good by a question at once, and by one when it was refused and is opened again', async () => {
  const desk = await new Desk().started();
  desk.truth = 3;

  desk.wire.breaks();
  await settle();

  assert.deepEqual([desk.asked, desk.shown, desk.wires.length], [2, 3, 1]);
  desk.wire.opens();
  desk.wire.isRefused();
  await desk.clock.pass(1_000);
  assert.equal(desk.wires.length, 2);
});

test('a server that refuses is asked for a stream more and more seldom, and never given up', async () => {
  const desk = new Desk();
  desk.line.start();
  const waits: number[] = [];
  for (let round = 0; round < 8; round++) {
    const before = desk.clock.now;
    const wires = desk.wires.length;
    desk.wire.isRefused();
    while (desk.wires.length === wires) await desk.clock.pass(500);
    waits.push(desk.clock.now - before);
  }
  assert.deepEqual(waits.slice(0, 3), [1_000, 2_000, 4_000]);
  assert.deepEqual(waits.slice(-2), [LAST_RETRY_MS, LAST_RETRY_MS]);
});

test('an answer that was made before an event does not undo it', async () => {
  const desk = await new Desk().started();
  desk.answers = [];
  desk.truth = 5;
  desk.line.askNow();
  await settle();

  desk.wire.says('number', 6);
  for (const answer of desk.answers) answer();
  await settle();

  assert.equal(desk.shown, 6);
});

test('what is done while a question is under way is asked about after it', async () => {
  const desk = await new Desk().started();
  desk.answers = [];
  desk.line.askNow();
  await settle();
  desk.truth = 9;
  desk.line.askNow();
  for (const answer of desk.answers.splice(0)) answer();
  await settle();
  for (const answer of desk.answers) answer();
  await settle();

  assert.deepEqual([desk.asked, desk.shown], [3, 9]);
});

test('a hidden page keeps no stream and asks nothing; shown again it asks at once', async () => {
  const desk = await new Desk().started();
  desk.hidden = true;
  desk.line.stop();
  assert.equal(desk.wire.readyState, 2);
  await desk.clock.pass(100_000);
  desk.line.start();
  assert.deepEqual([desk.asked, desk.wires.length], [1, 1]);

  desk.hidden = false;
  desk.truth = 4;
  await desk.started();

  assert.deepEqual([desk.asked, desk.wires.length, desk.shown], [2, 2, 4]);
});

test('what comes after the page was left changes nothing', async () => {
  const desk = await new Desk().started();
  desk.answers = [];
  desk.truth = 8;
  desk.line.askNow();
  await settle();

  desk.line.stop();
  for (const answer of desk.answers) answer();
  desk.wire.says('number', 9);
  await desk.clock.pass(100_000);

  assert.deepEqual([desk.shown, desk.asked], [0, 2]);
});

test('an event that cannot be used, and a question without an answer, do not end the line', async () => {
  const desk = await new Desk().started();
  desk.fails = true;
  desk.line.askNow();
  await settle();
  desk.fails = false;
  desk.truth = 2;

  await desk.clock.pass(SELDOM_MS);

  assert.equal(desk.shown, 2);
  assert.equal(desk.complaints.length, 1);
});
