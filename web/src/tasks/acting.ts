/** A button of a task: ask first, do it, show what came of it or why not. */
import { type Signal, useSignal } from '@preact/signals';
import type { Action } from './actions';
import { askFirst } from './askFirst';
import { type Change, command, type Task } from './server';

export interface Acting {
  readonly busy: Signal<boolean>;
  readonly refused: Signal<string | null>;
  readonly act: (action: Action) => Promise<void>;
}

export function useActing(task: Task, title: string, changed: (change: Change) => void): Acting {
  const busy = useSignal(false);
  const refused = useSignal<string | null>(null);
  const act = async ({ verb }: Action) => {
    refused.value = null;
    busy.value = true;
    try {
      if (await askFirst(verb, task, title)) changed(await command(task.id, verb));
    } catch (error) {
      refused.value = error instanceof Error ? error.message : String(error);
      // Somebody else may have been faster: then this page shows an older state.
      changed({});
    } finally {
      busy.value = false;
    }
  };
  return { busy, refused, act };
}
