/** Who is signed in, and what happened when nobody is. */
import { effect, signal } from '@preact/signals';
import { api, ApiError, onAnswer, unwrap } from './api/client';
import type { components } from './api/schema';
import { firstMe } from './first';
import { recall, remember } from './ui/memory';

export type Me = components['schemas']['Me'];

/** undefined: not asked yet; null: nobody. A labelling page brings the answer with it. */
export const me = signal<Me | null | undefined>(firstMe ?? undefined);
/** Why nobody is signed in: never was, the session ran out, or the person left. */
export const gone = signal<'never' | 'ended' | 'left'>('never');
/** The first question could not be answered at all. */
export const away = signal(false);
/** Whose session has ended: what they had begun stays up until they or somebody else signs in. */
export const last = signal<Me | null>(null);

export async function askWho(): Promise<void> {
  away.value = false;
  try {
    me.value = await unwrap(api.GET('/api/me'));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) me.value = null;
    else assume();
  }
}

/** Without a network the last person goes on: the answers are sent in their session or not at all. */
function assume(): void {
  me.value ??= JSON.parse(recall('me') ?? 'null') ?? undefined;
  away.value = !me.value;
}

/** The token of a sign-in link, used once. Throws ApiError when the server refuses it. */
export async function signIn(token: string): Promise<void> {
  me.value = await unwrap(api.POST('/api/auth/link', { body: { token } }));
  gone.value = 'never';
}

export async function signOut(): Promise<void> {
  await unwrap(api.POST('/api/auth/sign-out'));
  gone.value = 'left';
  me.value = null;
}

export function isOperator(): boolean {
  return me.value?.role === 'operator' || me.value?.role === 'admin';
}

// Any answer may be the one that tells that the session has ended.
onAnswer(({ response, schemaPath }) => {
  if (response.status === 401 && me.value && schemaPath !== '/api/auth/link') {
    gone.value = 'ended';
    me.value = null;
  }
});

effect(() => {
  if (me.value === undefined) return;
  if (me.value) last.value = me.value;
  remember('me', me.value && JSON.stringify(me.value));
});
