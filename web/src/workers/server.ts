/** The workers page's side of the API. */
import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';

export type Worker = components['schemas']['WorkerAnswer'];
export type Activity = components['schemas']['WorkerActivityAnswer'];
export type Probe = components['schemas']['comfylabel__workers__schemas__ProbeAnswer'];
/** `event: worker` of /api/events. */
export type Heard = Pick<Worker, 'id' | 'name' | 'status' | 'enabled' | 'held' | 'current_queue_len' | 'reason'> &
  Pick<Activity, 'utilisation' | 'images_per_second'>;

/** So far back go the figures: long enough to be steady, short enough to show a worker that just began to idle. */
export const MINUTES = 10;

export async function workers(signal: AbortSignal): Promise<Worker[]> {
  return unwrap(api.GET('/api/workers', { signal }));
}

export async function activity(signal: AbortSignal): Promise<Map<string, Activity>> {
  const rows = await unwrap(api.GET('/api/workers/activity', { params: { query: { minutes: MINUTES } }, signal }));
  return new Map(rows.map((row) => [row.worker_id, row]));
}

export async function probe(workerId: string): Promise<Probe> {
  return unwrap(api.POST('/api/workers/{worker_id}/test', { params: { path: { worker_id: workerId } } }));
}

/** What waits there is made elsewhere; what runs ends and is kept. */
export async function drain(workerId: string): Promise<Worker> {
  return unwrap(api.POST('/api/workers/{worker_id}/drain', { params: { path: { worker_id: workerId } } }));
}

export async function enable(workerId: string): Promise<Worker> {
  const params = { path: { worker_id: workerId } };
  return unwrap(api.PATCH('/api/workers/{worker_id}', { params, body: { enabled: true } }));
}
