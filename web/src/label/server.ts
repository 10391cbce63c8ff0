/** The labelling screen's side of the API. */
import { api, ApiError, unwrap } from '../api/client';
import type { components } from '../api/schema';
import { firstLine } from '../ui/words';
import type { Answer, Outcome } from './sender.ts';
import type { Page, Server, Standing } from './session.ts';

export type LabelTask = components['schemas']['LabellingItem'];

/** The largest page: the batches that this person has judged are passed over here. */
const PAGE = 100;

/** Every task that holds something to judge. */
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

export function titleOf(task: LabelTask): string {
  return firstLine(task.notes) ?? task.workflow ?? 'Task without notes';
}

/** More batches may still become ready. */
export function isGenerating(task: LabelTask): boolean {
  return task.state === 'RUNNING' && task.ready_batches < task.batches;
}

/** What one person can label in all: once nothing more is made, batches that failed are out of it. */
export function reachable(task: LabelTask): number {
  return isGenerating(task) ? task.batches : task.ready_batches;
}

export async function post(answer: Answer): Promise<Outcome> {
  try {
    await unwrap(api.POST('/api/annotations', { body: answer }));
    return 'stored';
  } catch (error) {
    if (!(error instanceof ApiError) || error.passing) return 'later';
    return error.status === 401 ? 'signed out' : { refused: error.message };
  }
}

export function serverFor(taskId: string, send: (answer: Answer) => void): Server {
  return {
    async page(cursor): Promise<Page> {
      const query = cursor === null ? { limit: PAGE } : { limit: PAGE, cursor };
      return unwrap(api.GET('/api/tasks/{task_id}/batches', { params: { path: { task_id: taskId }, query } }));
    },
    async standing(): Promise<Standing | null> {
      const task = (await labelTasks()).find((one) => one.task_id === taskId);
      if (!task) return null;
      return {
        title: titleOf(task),
        total: reachable(task),
        mine: task.done_by_me,
        ready: task.ready_batches,
        generating: isGenerating(task),
      };
    },
    send,
    newId,
    now: () => performance.now(),
  };
}

/** randomUUID exists on https and localhost only; a server in the local network is neither. */
function newId(): string {
  if ('randomUUID' in crypto) return crypto.randomUUID();
  const bytes = (crypto as Crypto).getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
