/** What can be asked of a task in each state: the buttons, in the order of the work. */
import type { Verb } from './server';

interface Standing {
  readonly state: 'DRAFT' | 'FROZEN' | 'RUNNING' | 'DONE' | 'FAILED';
  readonly paused: boolean;
  readonly progress: { readonly done: number; readonly failed: number; readonly pending: number };
}

export interface Action {
  readonly verb: Verb;
  readonly label: string;
  /** The one that most people press next. */
  readonly primary?: boolean;
}

export function actionsOf(task: Standing): Action[] {
  switch (task.state) {
    case 'DRAFT':
      return [
        { verb: 'pilot', label: 'Pilot' },
        { verb: 'freeze', label: 'Freeze', primary: true },
      ];
    case 'FROZEN':
      return [{ verb: 'run', label: 'Run', primary: true }];
    case 'RUNNING':
      return [
        task.paused ? { verb: 'resume', label: 'Resume', primary: true } : { verb: 'pause', label: 'Pause' },
        { verb: 'cancel', label: 'Cancel' },
      ];
    case 'DONE':
      return task.progress.failed > 0 ? [{ verb: 'run', label: 'Run what failed' }] : [];
    case 'FAILED':
      return [{ verb: 'run', label: 'Run what is missing' }];
  }
}

/** Labels and lines exist as soon as there are images, and stay when the task has ended. */
export function canExport(task: Standing): boolean {
  return task.progress.done > 0 && task.state !== 'DRAFT' && task.state !== 'FROZEN';
}
