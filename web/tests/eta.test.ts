import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doneBetween, giveOrTake, isRough, rate, seconds, timeLeft } from '../src/tasks/eta.ts';

// A Sunday, in the time zone of whoever runs this.
const NOON = new Date(2026, 10, 22, 12, 0, 0);
const MINUTE = 60;
const HOUR = 3600;

test('what is left is said as roughly as it is known', () => {
  const left = (low: number, high = low) => timeLeft({ low, high });
  assert.equal(left(3), 'about 5 s');
  assert.equal(left(30), 'about 30 s');
  assert.equal(left(100), 'about 2 min');
  assert.equal(left(23 * MINUTE, 29 * MINUTE), 'about 25 min');
  assert.equal(left(1.8 * HOUR, 2.3 * HOUR), 'about 2 h');
  assert.equal(left(2.6 * HOUR), 'about 2.5 h');
  assert.equal(left(31 * HOUR), 'about 31 h');
  assert.equal(left(80 * HOUR), 'about 3 days');
});

test('how sure it is, is half the range', () => {
  assert.equal(giveOrTake({ low: 105 * MINUTE, high: 135 * MINUTE }), 'give or take 15 min');
  assert.equal(giveOrTake({ low: 100, high: 110 }), null);
  assert.equal(giveOrTake({ low: 10 * HOUR, high: 10.2 * HOUR }), null);
  assert.ok(isRough({ low: HOUR, high: 3 * HOUR }));
  assert.ok(!isRough({ low: 2, high: 50 }), 'the last minute is never rough');
  assert.ok(!isRough({ low: 100 * MINUTE, high: 120 * MINUTE }));
});

test('the end is a time of day, and a day where it is not today', () => {
  const done = (low: number, high = low) => doneBetween({ low, high }, NOON);
  assert.equal(done(130 * MINUTE, 160 * MINUTE), 'done between 14:10 and 14:40');
  assert.equal(done(132 * MINUTE, 158 * MINUTE), 'done between 14:10 and 14:40');
  assert.equal(done(10 * MINUTE), 'done at 12:10');
  assert.equal(done(10 * MINUTE, 13.5 * MINUTE), 'done between 12:10 and 12:14');
  assert.equal(done(11 * HOUR, 14 * HOUR), 'done between 23:00 and tomorrow 02:00');
  assert.equal(done(20 * HOUR, 22 * HOUR), 'done tomorrow between 08:00 and 10:00');
  assert.equal(done(50 * HOUR), 'done on Tue at 14:00');
  assert.equal(done(240 * HOUR, 264 * HOUR), 'done between 2 Dec 12:00 and 3 Dec 12:00');
});

test('the range shown always holds the range known', () => {
  for (let low = 0; low < 4 * HOUR; low += 331)
    for (const width of [0, 7, 59, 61, 599, 601, 4000]) {
      const times = doneBetween({ low, high: low + width }, NOON).match(/\d\d:\d\d/g) ?? [];
      const [from, to = from] = times.map((time) => new Date(`${NOON.toDateString()} ${time}`).getTime());
      assert.ok((from as number) <= NOON.getTime() + low * 1000 + 60_000);
      assert.ok((to as number) >= NOON.getTime() + (low + width) * 1000);
    }
});

test('speed has the unit in which it is not a tiny number', () => {
  assert.equal(rate(31.4), '31 images/s');
  assert.equal(rate(2.64), '2.6 images/s');
  assert.equal(rate(1.02), '1 image/s');
  assert.equal(rate(0.5), '30 images/min');
  assert.equal(rate(0.001), '3.6 images/h');
  assert.deepEqual(
    [rate(1.2, 1.2), rate(0.65, 1.2), rate(0.01, 1.2), rate(0, 1.2), rate(0.00001)],
    ['1.2 images/s', '0.7 images/s', 'under 0.1 images/s', '0 images/s', 'under 0.1 images/h'],
    'side by side in one unit',
  );
  assert.deepEqual(
    [seconds(0.04), seconds(3.12), seconds(45.2), seconds(150)],
    ['under 0.1 s', '3.1 s', '45 s', '2.5 min'],
  );
});
