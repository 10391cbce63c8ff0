/** What a person can say other than "this one". Words under the icons; keys where there is a keyboard. */
import { Icon, type IconName } from '../ui/Icon';
import type { LabelSession } from './session';

export function Bar({ session }: { session: LabelSession }) {
  return (
    <div class="bar" role="group" aria-label="Other answers">
      <Action icon="undo" shortcut="Z" onClick={() => session.back()} disabled={session.at.value === 0}>
        Back
      </Action>
      <Action icon="reject" shortcut="X" onClick={() => session.toggleRejecting()} pressed={session.rejecting.value}>
        Reject
      </Action>
      <Action icon="tie" shortcut="T" onClick={() => session.answer('tie')}>
        Tie
      </Action>
      <Action icon="spam" shortcut="S" onClick={() => session.answer('spam')}>
        Spam
      </Action>
      <Action icon="skip" shortcut="K" onClick={() => session.answer('skip')}>
        Skip
      </Action>
    </div>
  );
}

interface ActionProps {
  icon: IconName;
  shortcut: string;
  children: string;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
}

function Action({ icon, shortcut, children, onClick, pressed, disabled }: ActionProps) {
  return (
    <button
      class={`action ${icon}`}
      onClick={onClick}
      aria-pressed={pressed}
      disabled={disabled}
      aria-keyshortcuts={shortcut}
    >
      <Icon name={icon} size={20} />
      <span>{children}</span>
      <kbd aria-hidden="true">{shortcut}</kbd>
    </button>
  );
}
