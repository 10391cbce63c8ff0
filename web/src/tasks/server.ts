/** The task pages' side of the API. */
import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';

export type Task = components['schemas']['TaskRowAnswer'];
export type Pilot = components['schemas']['PilotAnswer'];
export type Progress = components['schemas']['ProgressAnswer'];
export type Verb = 'pilot' | 'freeze' | 'run' | 'cancel';

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

export async function command(taskId: string, verb: Verb): Promise<void> {
  const params = { path: { task_id: taskId } };
  switch (verb) {
    case 'pilot':
      // A pilot takes minutes: it is started here and looked at while it runs.
      await unwrap(api.POST('/api/tasks/{task_id}/pilot', { params, headers: { Prefer: 'respond-async' } }));
      return;
    case 'freeze':
      await unwrap(api.POST('/api/tasks/{task_id}/freeze', { params }));
      return;
    case 'run':
      await unwrap(api.POST('/api/tasks/{task_id}/run', { params }));
      return;
    case 'cancel':
      await unwrap(api.POST('/api/tasks/{task_id}/cancel', { params }));
  }
}

/** null when the task never had a pilot. */
export async function lastPilot(taskId: string, signal: AbortSignal): Promise<Pilot | null> {
  const path = { task_id: taskId };
  const task = await unwrap(api.GET('/api/tasks/{task_id}', { params: { path, query: { limit: 1 } }, signal }));
  return task.pilot && unwrap(api.GET('/api/tasks/{task_id}/pilot', { params: { path }, signal }));
}

export async function progress(taskId: string, limit: number, signal: AbortSignal): Promise<Progress> {
  const params = { path: { task_id: taskId }, query: { limit } };
  return unwrap(api.GET('/api/tasks/{task_id}/progress', { params, signal }));
}

export async function promptTexts(taskId: string, limit: number, signal: AbortSignal): Promise<Map<string, string>> {
  const params = { path: { task_id: taskId }, query: { limit } };
  const page = await unwrap(api.GET('/api/tasks/{task_id}/prompts', { params, signal }));
  return new Map(page.items.map((prompt) => [prompt.id, prompt.text]));
}

export function exportAddress(taskId: string): string {
  return `/api/tasks/${taskId}/export/dpo`;
}
