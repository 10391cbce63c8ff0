/** What the server put into the page: who is signed in, and the first batches of the task. */
import type { components } from './api/schema';
import type { Next } from './label/supply.ts';

export interface First {
  readonly me: components['schemas']['Me'];
  readonly task: components['schemas']['LabellingItem'];
  readonly next: Next;
}

let first = read();

/** Who the page was made for; null: the page says nothing. */
export const firstMe = first?.me ?? null;

/** Once: on the way back from the list the batches have to be asked for. */
export function takeFirst(): First | null {
  const taken = first;
  first = null;
  return taken;
}

function read(): First | null {
  const text = document.getElementById('first')?.textContent;
  return text ? (JSON.parse(text) as First) : null;
}
