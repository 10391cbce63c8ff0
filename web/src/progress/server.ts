/** The progress page's side of the API. */
import { api, ApiError, unwrap } from '../api/client';
import type { components } from '../api/schema';
import type { Task } from '../tasks/server';

export type Details = components['schemas']['TaskAnswer'];
export type Progress = components['schemas']['ProgressAnswer'];
export type PromptRow = components['schemas']['PromptProgressAnswer'];
export type Failure = components['schemas']['FailureAnswer'];
export type TaskWorker = components['schemas']['TaskWorkerAnswer'];

/** How the whole task stands, without a row for each prompt. */
export async function standing(taskId: string, signal: AbortSignal): Promise<Progress> {
  const params = { path: { task_id: taskId }, query: { limit: 0 } };
  return unwrap(api.GET('/api/tasks/{task_id}/progress', { params, signal }));
}

export function eventsOf(taskId: string): string {
  return `/api/tasks/${encodeURIComponent(taskId)}/events`;
}

/** null: there is no such task. */
export async function details(taskId: string, signal: AbortSignal): Promise<Details | null> {
  const params = { path: { task_id: taskId }, query: { limit: 1 } };
  try {
    return await unwrap(api.GET('/api/tasks/{task_id}', { params, signal }));
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 422)) return null;
    throw error;
  }
}

export async function workersOf(taskId: string, signal: AbortSignal): Promise<TaskWorker[]> {
  return unwrap(api.GET('/api/tasks/{task_id}/workers', { params: { path: { task_id: taskId } }, signal }));
}

export interface Page {
  readonly rows: readonly PromptRow[];
  readonly next: string | null;
}

export async function promptPage(
  taskId: string,
  { limit, cursor, failed }: { limit: number; cursor: string | null; failed: boolean },
  signal: AbortSignal,
): Promise<Page> {
  const query = { limit, ...(cursor !== null && { cursor }), ...(failed && { only: 'failed' as const }) };
  const params = { path: { task_id: taskId }, query };
  const page = await unwrap(api.GET('/api/tasks/{task_id}/progress', { params, signal }));
  return { rows: page.per_prompt, next: page.next_cursor };
}

export async function setPriority(taskId: string, priority: number): Promise<void> {
  const params = { path: { task_id: taskId }, query: { limit: 1 } };
  await unwrap(api.PATCH('/api/tasks/{task_id}', { params, body: { priority } }));
}

/** The row of the task list that these two make together. */
export function asTask(task: Details, now: Progress): Task {
  const { total, done, running, pending, failed } = now;
  return {
    ...task,
    state: now.state,
    paused: now.paused,
    priority: now.priority,
    images_per_second: now.images_per_second,
    eta_seconds: now.eta_seconds,
    eta_note: now.eta_note,
    progress: { total, done, running, pending, failed },
  };
}

export function snapshotAddress(taskId: string): string {
  return `/api/tasks/${encodeURIComponent(taskId)}/snapshot`;
}
