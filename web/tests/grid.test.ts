import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestGrid, GAP, type Box } from '../src/label/grid.ts';

const PHONE: Box = { width: 378, height: 592 };
const DESK: Box = { width: 1408, height: 700 };

test('four pictures stand two by two on a phone, two of them one above the other', () => {
  assert.equal(bestGrid(4, PHONE, 1).columns, 2);
  assert.equal(bestGrid(2, PHONE, 1).columns, 1);
});

test('two and three pictures stand side by side at a desk', () => {
  assert.equal(bestGrid(2, DESK, 1).columns, 2);
  assert.equal(bestGrid(3, DESK, 1).columns, 3);
});

test('nine pictures stand three by three rather than with a hole, though they are a little smaller so', () => {
  assert.equal(bestGrid(9, { width: 378, height: 655 }, 1).columns, 3);
});

test('no other number of columns shows the pictures much larger', () => {
  for (const box of [PHONE, DESK, { width: 300, height: 300 }])
    for (const aspect of [0.5, 0.68, 1, 1.5, 2])
      for (let count = 1; count <= 9; count++) {
        const { width, columns } = bestGrid(count, box, aspect);
        if (Math.ceil(count / columns) * (width / aspect) > box.height) continue; // it scrolls
        for (let other = 1; other <= count; other++) {
          const rows = Math.ceil(count / other);
          const room = (box.height - GAP * (rows - 1)) / rows;
          const side = Math.min((box.width - GAP * (other - 1)) / other, room * aspect);
          assert.ok(side * 0.95 <= width + 0.6, `${count} pictures of ${aspect} in ${box.width}x${box.height}`);
        }
      }
});

test('pictures too many to be judged in one sight scroll, in columns that fit the width', () => {
  for (const count of [40, 1000]) {
    const grid = bestGrid(count, PHONE, 1);
    assert.ok(grid.width >= 110);
    assert.ok(grid.columns * grid.width + GAP * (grid.columns - 1) <= PHONE.width + 0.001);
  }
});

test('a cell has the shape of its picture, in a box of no size too', () => {
  const grid = bestGrid(4, DESK, 1.5);
  assert.ok(Math.abs(grid.width / grid.height - 1.5) < 1e-9);
  assert.ok(bestGrid(4, { width: 0, height: 0 }, 1).width >= 1);
});
