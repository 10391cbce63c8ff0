/** How much of a task is made: three parts of one bar. The numbers stand beside it, so nothing hangs on the colours. */
import { Icon } from '../ui/Icon';
import { count, some } from '../ui/words';
import type { Task } from './server';

export function Made({ task, title }: { task: Task; title: string }) {
  const { total, done, running, failed } = task.progress;
  if (task.state === 'DRAFT' || task.state === 'FROZEN') {
    return (
      <p class="numbers">
        <b>{count(total)}</b> {total === 1 ? 'image' : 'images'} planned
      </p>
    );
  }
  return (
    <div class="progress">
      <Bar label={`Images made: ${title}`} counts={task.progress} />
      <p class="numbers">
        <b>{count(done)}</b> of {some(total, 'image')}
        {running > 0 && <span>{count(running)} being made</span>}
        {failed > 0 && (
          <span class="failed-count">
            <Icon name="failed" size={14} /> {count(failed)} failed
          </span>
        )}
      </p>
    </div>
  );
}

type Counts = Pick<Task['progress'], 'total' | 'done' | 'running' | 'failed'>;

export function Bar({ label, counts }: { label: string; counts: Counts }) {
  const { total, done, running, failed } = counts;
  const part = (value: number) => ({ width: `${total ? (100 * value) / total : 0}%` });
  return (
    <div
      class="bar-track"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={done}
      aria-valuetext={`${count(done)} of ${count(total)}`}
    >
      <span class="part-done" style={part(done)} />
      <span class="part-running" style={part(running)} />
      <span class="part-failed" style={part(failed)} />
    </div>
  );
}
