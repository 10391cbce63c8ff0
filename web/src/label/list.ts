/** Every task that holds something to judge. */
import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';
import type { LabelTask } from './server.ts';

/** The largest page. */
const PAGE = 100;

export async function labelTasks(signal?: AbortSignal): Promise<LabelTask[]> {
  const tasks: LabelTask[] = [];
  for (let cursor: string | null = null; ;) {
    const query = cursor === null ? { limit: PAGE } : { limit: PAGE, cursor };
    const page: components['schemas']['LabellingAnswer'] = await unwrap(
      api.GET('/api/labelling', { params: { query }, signal: signal ?? null }),
    );
    tasks.push(...page.items);
    if (page.next_cursor === null) return tasks;
    cursor = page.next_cursor;
  }
}
