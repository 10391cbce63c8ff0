import { Icon, type IconName } from '../ui/Icon';
import type { Task } from './server';

const LOOKS: Record<Task['state'], [IconName, string]> = {
  DRAFT: ['draft', 'Draft'],
  FROZEN: ['frozen', 'Frozen'],
  RUNNING: ['running', 'Running'],
  DONE: ['done', 'Done'],
  FAILED: ['failed', 'Failed'],
};

export function stateWord(task: Pick<Task, 'state' | 'paused' | 'end_reason'>): string {
  if (task.state === 'FAILED' && task.end_reason === 'cancelled') return 'Cancelled';
  return isPaused(task) ? 'Paused' : LOOKS[task.state][1];
}

/** Shape, word and colour say the same. */
export function StateBadge({ task }: { task: Task }) {
  return (
    <span class="badge" data-state={isPaused(task) ? 'PAUSED' : task.state}>
      <Icon name={isPaused(task) ? 'pause' : LOOKS[task.state][0]} size={16} /> {stateWord(task)}
    </span>
  );
}

function isPaused(task: Pick<Task, 'state' | 'paused'>): boolean {
  return task.state === 'RUNNING' && task.paused;
}
