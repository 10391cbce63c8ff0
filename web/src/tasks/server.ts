/** The task pages' side of the API. */
import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';

export type Task = components['schemas']['TaskRowAnswer'];
export type Pilot = components['schemas']['PilotAnswer'];
/** What a command changes at once; the rest of what follows from it is heard of. */
export type Change = Partial<Pick<Task, 'state' | 'paused' | 'end_reason'>>;
export type Verb = 'pilot' | 'freeze' | 'run' | 'pause' | 'resume' | 'cancel';

/** Tells of every task that runs, and of every worker. */
export const EVENTS = '/api/events';

const PAGE = 20;

/** The newest `pages` pages of tasks, and whether there are older ones. */
export async function taskPages(pages: number, signal: AbortSignal): Promise<{ items: Task[]; more: boolean }> {
  const items: Task[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < pages; page++) {
    const query: { limit: number; cursor?: string } = cursor === null ? { limit: PAGE } : { limit: PAGE, cursor };
    const answer: components['schemas']['TaskPageAnswer'] = await unwrap(
      api.GET('/api/tasks', { params: { query }, signal }),
    );
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (cursor === null) break;
  }
  return { items, more: cursor !== null };
}

/** As many as one answer holds; an older workflow goes without its name. */
const WORKFLOWS = 10_000;

/** Workflow ids in words: "summer-sdxl v3". */
export async function workflowNames(signal: AbortSignal): Promise<Map<string, string>> {
  const { items } = await unwrap(api.GET('/api/workflows', { params: { query: { limit: WORKFLOWS } }, signal }));
  return new Map(items.map((one) => [one.id, `${one.name} v${one.version}`]));
}

export async function command(taskId: string, verb: Verb): Promise<Change> {
  const params = { path: { task_id: taskId } };
  switch (verb) {
    case 'pilot':
      // A pilot takes minutes: it is started here and looked at while it runs.
      await unwrap(api.POST('/api/tasks/{task_id}/pilot', { params, headers: { Prefer: 'respond-async' } }));
      return {};
    case 'freeze':
      return { state: (await unwrap(api.POST('/api/tasks/{task_id}/freeze', { params }))).state };
    case 'run':
      return { state: (await unwrap(api.POST('/api/tasks/{task_id}/run', { params }))).state };
    case 'pause':
      return unwrap(api.POST('/api/tasks/{task_id}/pause', { params }));
    case 'resume':
      return unwrap(api.POST('/api/tasks/{task_id}/resume', { params }));
    case 'cancel':
      return unwrap(api.POST('/api/tasks/{task_id}/cancel', { params }));
  }
}

/** null when the task never had a pilot. */
export async function lastPilot(taskId: string, signal: AbortSignal): Promise<Pilot | null> {
  const path = { task_id: taskId };
  const task = await unwrap(api.GET('/api/tasks/{task_id}', { params: { path, query: { limit: 1 } }, signal }));
  return task.pilot && pilotOf(taskId, signal);
}

/** Of a task that had one. */
export async function pilotOf(taskId: string, signal: AbortSignal): Promise<Pilot> {
  return unwrap(api.GET('/api/tasks/{task_id}/pilot', { params: { path: { task_id: taskId } }, signal }));
}

export function exportAddress(taskId: string): string {
  return `/api/tasks/${taskId}/export/dpo`;
}
