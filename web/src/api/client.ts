/** The typed way to the server: paths and shapes come from schema.d.ts, which is generated from docs/openapi.json. */
import createClient from 'openapi-fetch';
import type { paths } from './schema';

export const api = createClient<paths>({ baseUrl: '/' });

/** An answer that is no success, or no answer at all (`status` 0). `message` is a sentence for people. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly data: unknown;

  constructor(status: number, code: string, message: string, data: unknown = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.data = data;
  }

  /** The same request may succeed a little later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

interface Answer<T> {
  // Optional, because the client's types drop a field that is always null.
  data?: { success: boolean; data?: T } | undefined;
  error?: unknown;
  response: Response;
}

/** The `data` of an envelope; anything else is thrown as ApiError. */
export async function unwrap<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'away', 'The server does not answer.');
  }
  if (answer.data !== undefined) return answer.data.data as T;
  const { status } = answer.response;
  const told = answer.error as { error?: unknown; code?: unknown; data?: unknown } | undefined;
  if (typeof told?.error === 'string') throw new ApiError(status, String(told.code), told.error, told.data);
  throw new ApiError(status, 'away', `The server answered with status ${status}.`);
}
