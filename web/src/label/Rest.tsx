/** When there is no batch to show: why, what happens by itself, and the way on. */
import type { ComponentChildren } from 'preact';
import { askWho } from '../session';
import { Icon, type IconName } from '../ui/Icon';
import { Notice } from '../ui/Notice';
import { some } from '../ui/words';
import type { Sitting } from './types.ts';

export function Rest({ sitting }: { sitting: Sitting }) {
  switch (sitting.phase.value) {
    case 'waiting':
      return <Waiting sitting={sitting} />;
    case 'finished':
      return (
        <Calm sitting={sitting} icon="done" title="All done, thank you">
          <p>You have labelled {some(sitting.progress.value.mine, 'batch', 'batches')} of this task.</p>
          <ToTheList />
        </Calm>
      );
    case 'nothing':
      return (
        <Calm sitting={sitting} icon="empty" title="Nothing to label here">
          <p>Every batch of this task has its answers, or it has not begun. New ones appear here by themselves.</p>
          <ToTheList />
        </Calm>
      );
    case 'gone':
      return (
        <Calm sitting={sitting} icon="empty" title="This task is not there">
          <p>The address is wrong, or the task was removed.</p>
          <ToTheList />
        </Calm>
      );
    case 'away':
      return <Away sitting={sitting} />;
    case 'ended':
      return <Ended sitting={sitting} />;
    default:
      return <p class="unseen">Loading</p>;
  }
}

function Waiting({ sitting }: { sitting: Sitting }) {
  const coming = sitting.coming.value;
  if (coming === 0) {
    return (
      <Calm sitting={sitting} icon="people" title="Others have the rest">
        <p>
          Every batch that is left is in somebody else's hands. What they put back appears here by itself; you need not
          wait for it.
        </p>
        <ToTheList />
      </Calm>
    );
  }
  return (
    <Calm sitting={sitting} icon="waiting" title="More pictures are on their way">
      <p>
        You have labelled everything that is ready. {some(coming, 'batch is', 'batches are')} still being made; the next
        one appears here by itself.
      </p>
    </Calm>
  );
}

function Away({ sitting }: { sitting: Sitting }) {
  return (
    <Calm sitting={sitting} icon="away" title={navigator.onLine ? 'The server does not answer' : 'You are offline'}>
      <p>
        {sitting.answers.value.size > 0 && 'You have answered everything that was on this phone. '}
        New pictures come as soon as the server can be reached.
      </p>
      <p class="ways">
        <button class="button primary" onClick={() => void sitting.load()}>
          Try again
        </button>
        <ToTheList />
      </p>
    </Calm>
  );
}

function Ended({ sitting }: { sitting: Sitting }) {
  return (
    <Calm sitting={sitting} icon="key" title="Your session has ended">
      <p>Open a new sign-in link in another tab, then come back to this one.</p>
      <button class="button primary" onClick={() => void askWho().then(() => sitting.load())}>
        I have signed in
      </button>
    </Calm>
  );
}

function ToTheList() {
  return (
    <a class="button" href="/label">
      To the list
    </a>
  );
}

interface CalmProps {
  sitting: Sitting;
  icon: IconName;
  title: string;
  children: ComponentChildren;
}

function Calm({ sitting, icon, title, children }: CalmProps) {
  const unsent = sitting.unsent.value;
  return (
    <Notice icon={icon} title={title} live>
      {children}
      {unsent > 0 && (
        <p class="kept">
          <Icon name="kept" size={16} />
          {some(unsent, 'answer waits', 'answers wait')} {sitting.lasting.value ? 'on this device' : 'in this page'} to
          be sent{sitting.lasting.value ? '.' : ': keep it open.'}
        </p>
      )}
      {sitting.undoable.value && (
        <button class="button quiet" onClick={() => sitting.undo()}>
          <Icon name="undo" /> Undo the last answer
        </button>
      )}
    </Notice>
  );
}
