/** How answers go to the server, and what its answers mean for what is sent. */
import { api, ApiError, unwrap } from '../api/client.ts';
import type { components } from '../api/schema';
import type { Outcome, Result } from '../engine/outbox.ts';
import { patience } from './server.ts';

/** A list of answers and undos, each stored or refused on its own. */
export async function post(bodies: readonly object[]): Promise<Outcome> {
  try {
    const body = bodies as components['schemas']['NewAnnotation'][];
    // While the page goes away, the request stays.
    const keepalive = document.visibilityState === 'hidden';
    const answered: unknown = await unwrap(api.POST('/api/annotations', { body, keepalive, signal: patience() }));
    return Array.isArray(answered) ? (answered as Result[]) : 'later';
  } catch (error) {
    if (!(error instanceof ApiError) || error.passing) return 'later';
    if (error.status === 401) return 'signed out';
    // A proxy that takes less at once may take fewer. What else it says, it does not say of the answers.
    if (error.code === 'away') return error.status === 413 && bodies.length > 1 ? { refused: error.message } : 'later';
    // Not about these answers: the role, the address, the server's own name. Some of it passes, and answers are kept.
    return error.status === 422 || error.status === 400 || error.status === 413 ? { refused: error.message } : 'later';
  }
}
