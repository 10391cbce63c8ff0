/** How many columns show `count` pictures largest in a box. */

export interface Box {
  readonly width: number;
  readonly height: number;
}

export const GAP = 6;
/** Below this a picture can no longer be judged: the grid scrolls instead. */
const SMALLEST = 110;
/** Rows without a hole are worth pictures so much smaller. */
const EVEN = 0.95;

/** Every cell has the shape of the pictures, so that they stand close together and the rest of the room lies around. */
export interface Grid {
  readonly columns: number;
  readonly width: number;
  readonly height: number;
}

export function bestGrid(count: number, box: Box, aspect: number): Grid {
  let best = gridOf(1, count, box, aspect);
  for (let columns = 2; columns <= count; columns++) {
    const grid = gridOf(columns, count, box, aspect);
    if (worth(grid, count) > worth(best, count) + 0.5) best = grid;
  }
  if (best.width >= SMALLEST || count <= 2) return best;
  const columns = Math.max(2, Math.floor((box.width + GAP) / (1.5 * SMALLEST + GAP)));
  return gridOf(columns, columns, { width: box.width, height: Infinity }, aspect);
}

const worth = ({ width, columns }: Grid, count: number) => (count % columns ? width * EVEN : width);

function gridOf(columns: number, count: number, box: Box, aspect: number): Grid {
  const rows = Math.ceil(count / columns);
  const room = {
    width: (box.width - GAP * (columns - 1)) / columns,
    height: (box.height - GAP * (rows - 1)) / rows,
  };
  const width = Math.max(1, Math.min(room.width, room.height * aspect));
  return { columns, width, height: width / aspect };
}
