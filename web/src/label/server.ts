/** The labelling screen's side of the API. */
import { api, unwrap } from '../api/client.ts';
import type { components } from '../api/schema';
import { firstLine } from '../ui/title.ts';
import type { Next, SittingServer, Standing } from './supply.ts';
import type { Batch } from './types.ts';

export type LabelTask = components['schemas']['LabellingItem'];

/** A server that has not answered by then is away; what is asked is asked again. */
const PATIENCE_MS = 20_000;

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

export function standingOf(task: LabelTask): Standing {
  const coming = isGenerating(task) ? task.batches - task.ready_batches : 0;
  return { title: titleOf(task), total: reachable(task), blind: task.blind, coming };
}

export function serverFor(taskId: string): SittingServer {
  const params = { path: { task_id: taskId } };
  return {
    async next(have, count, offline): Promise<Next> {
      const body = { have: [...have], count, offline };
      return unwrap(api.POST('/api/tasks/{task_id}/batches/next', { params, body, signal: patience() }));
    },
    async batch(batchId): Promise<Batch> {
      const path = { task_id: taskId, batch_id: batchId };
      return unwrap(api.GET('/api/tasks/{task_id}/batches/{batch_id}', { params: { path }, signal: patience() }));
    },
    async release(batchIds): Promise<void> {
      const body = { batch_ids: [...batchIds] };
      await unwrap(api.POST('/api/tasks/{task_id}/batches/release', { params, body, keepalive: true }));
    },
    async standing(): Promise<Standing> {
      return standingOf(await unwrap(api.GET('/api/labelling/{task_id}', { params, signal: patience() })));
    },
  };
}

export const patience = () => AbortSignal.timeout(PATIENCE_MS);
