import { Icon, type IconName } from '../ui/Icon';
import type { Task } from './server';

const LOOKS: Record<Task['state'], [IconName, string]> = {
  DRAFT: ['draft', 'Draft'],
  FROZEN: ['frozen', 'Frozen'],
  RUNNING: ['running', 'Running'],
  DONE: ['done', 'Done'],
  FAILED: ['failed', 'Failed'],
};

/** Shape, word and colour say the same. */
export function StateBadge({ task }: { task: Task }) {
  const [icon, usual] = LOOKS[task.state];
  const word = task.state === 'FAILED' && task.end_reason === 'cancelled' ? 'Cancelled' : usual;
  return (
    <span class="badge" data-state={task.state}>
      <Icon name={icon} size={16} /> {word}
    </span>
  );
}
