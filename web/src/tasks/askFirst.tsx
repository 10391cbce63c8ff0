/** What each button is about to do, before it does it. */
import { confirm } from '../ui/confirm';
import { some } from '../ui/words';
import { lastPilot, type Pilot, type Task, type Verb } from './server';

export async function askFirst(verb: Verb, task: Task, title: string): Promise<boolean> {
  const images = some(task.progress.total, 'image');
  switch (verb) {
    // Each takes the other back.
    case 'pause':
    case 'resume':
      return true;
    case 'pilot':
      return confirm({
        title: 'Start a pilot?',
        body: (
          <p>
            One worker makes ten images of “{title}”, the heaviest prompt first. It finds out whether they fit into its
            memory, and how long the whole takes.
          </p>
        ),
        verb: 'Start the pilot',
      });
    case 'freeze':
      return confirm({
        title: 'Freeze this task?',
        body: (
          <FreezeTerms title={title} images={images} pilot={await lastPilot(task.id, new AbortController().signal)} />
        ),
        verb: 'Freeze',
      });
    case 'run':
      return confirm({
        title: task.state === 'FROZEN' ? 'Run this task?' : 'Run it again?',
        body: <p>{runTerms(task, title, images)}</p>,
        verb: 'Run',
      });
    case 'cancel':
      return confirm({
        title: 'Cancel this task?',
        body: (
          <p>
            Nothing new is made for “{title}”, and what is being made now is stopped. The images that exist stay and can
            be labelled.
          </p>
        ),
        verb: 'Cancel the task',
        danger: true,
      });
  }
}

function runTerms(task: Task, title: string, images: string): string {
  if (task.state === 'FROZEN') return `The workers begin to make ${images} for “${title}”.`;
  const missing = task.progress.total - task.progress.done;
  return `The workers try the missing ${some(missing, 'image')} of “${title}” again. What is done stays as it is.`;
}

function FreezeTerms(props: { title: string; images: string; pilot: Pilot | null }) {
  const { pilot } = props;
  const valid = pilot?.state === 'done' && !pilot.void;
  return (
    <>
      <p>
        The prompts, seeds and workflow of “{props.title}” are locked for good: {props.images}.
      </p>
      {valid ? (
        <p>{settings(pilot)}</p>
      ) : (
        <p>
          <b>No pilot was run{pilot ? ' since the last change' : ''}.</b> Nobody knows yet whether these images fit into
          a worker's memory.
        </p>
      )}
    </>
  );
}

/** "The size had to be lowered to 768 × 768. 2 images are made at a time." */
export function settings(pilot: Pilot): string {
  const { width, height, batch_size: batch } = pilot.overrides;
  const size = width && height ? `The size had to be lowered to ${width} × ${height}.` : 'The images fit as they are.';
  return batch ? `${size} ${some(batch, 'image is', 'images are')} made at a time.` : size;
}
