/** What can be done with a task now, and what the server said against it. */
import { Icon } from '../ui/Icon';
import { actionsOf, canExport } from './actions';
import type { Acting } from './acting';
import { exportAddress, type Task } from './server';

export function Buttons({ task, title, acting }: { task: Task; title: string; acting: Acting }) {
  return (
    <>
      {actionsOf(task).map((action) => (
        <button
          key={action.verb}
          class={action.primary ? 'button primary' : 'button'}
          disabled={acting.busy.value}
          onClick={() => void acting.act(action)}
        >
          {action.label}
          <span class="unseen"> {title}</span>
        </button>
      ))}
      {canExport(task) && (
        <>
          <a class="button" href={exportAddress(task.id)} download>
            <Icon name="download" /> Export
            <span class="unseen"> the answers of {title}</span>
          </a>
          <a class="button primary" href={`/label/${task.id}`}>
            Label<span class="unseen"> {title}</span>
          </a>
        </>
      )}
    </>
  );
}

export function Refused({ acting }: { acting: Acting }) {
  return (
    acting.refused.value && (
      <p class="refused" role="alert">
        <Icon name="warning" /> {acting.refused.value}
      </p>
    )
  );
}
