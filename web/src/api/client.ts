/** The typed way to the server: paths and shapes come from schema.d.ts, which is generated from docs/openapi.json. */
import type { Client } from 'openapi-fetch';
import type { paths } from './schema';

interface Options extends RequestInit {
  params?: { path?: Record<string, unknown>; query?: Record<string, unknown> };
  body?: never;
}

interface Heard {
  readonly response: Response;
  readonly schemaPath: string;
}

type Listener = (heard: Heard) => void;
const listeners: Listener[] = [];

/** Only the types are the library's: its code does much more than is needed here. */
export const api = Object.fromEntries(
  ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map((method) => [
    method,
    (path: string, options?: Options) => call(method, path, options),
  ]),
) as unknown as Pick<Client<paths>, 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'>;

/** Hears of every answer. */
export function onAnswer(listener: Listener): void {
  listeners.push(listener);
}

async function call(method: string, path: string, { params, body, ...init }: Options = {}) {
  const headers = new Headers(init.headers);
  if (body !== undefined) headers.set('Content-Type', 'application/json');
  const json = body === undefined ? null : JSON.stringify(body);
  const response = await fetch(addressOf(path, params), { ...init, method, headers, body: json });
  for (const listener of listeners) listener({ response, schemaPath: path });
  const told: unknown = await response.json().catch(() => undefined);
  return response.ok ? { data: told, response } : { error: told, response };
}

function addressOf(path: string, { path: places = {}, query = {} }: NonNullable<Options['params']> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(places[name])));
  const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(asked.map(([name, value]) => [name, String(value)]));
  return asked.length > 0 ? `${filled}?${search}` : filled;
}

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
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
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
