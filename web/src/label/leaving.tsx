/** Before somebody signs out: what they answered and the server does not have yet. */
import { ask } from '../ui/confirm';
import { some } from '../ui/words';
import { mail } from './mail.ts';
import { releaseAll } from './device.ts';

/** What is about to be sent anyway is not worth a question. */
const SOON_MS = 1_500;

/** Says whether this person may be signed out now; what they hold goes back to the others. */
export async function mayLeave(userId: string): Promise<boolean> {
  const may = await isSettled(userId);
  if (may) await releaseAll(userId);
  return may;
}

async function isSettled(userId: string): Promise<boolean> {
  const waiting = async () => (await mail.of(userId)).length;
  if ((await waiting()) === 0) return true;
  await Promise.race([mail.flush(), new Promise((done) => setTimeout(done, SOON_MS))]);
  for (let tried = false; ; tried = true) {
    const count = await waiting();
    if (count === 0) return true;
    const means = await askAbout(count, tried);
    if (means !== 'send') return means === 'leave';
    await mail.flush();
  }
}

function askAbout(count: number, tried: boolean): Promise<'send' | 'leave' | null> {
  const answers = some(count, 'answer is', 'answers are');
  const place = mail.state.value.lasting ? 'on this device' : 'in this page';
  return ask({
    title: 'Sign out with unsent answers?',
    body: (
      <>
        {tried && <p class="warn">The server could not be reached.</p>}
        <p>
          {answers} not sent yet. Left here, {count === 1 ? 'it waits' : 'they wait'} {place} until you sign in again:
          nobody else can see or send {count === 1 ? 'it' : 'them'}.
        </p>
      </>
    ),
    back: 'Stay',
    choices: [
      { verb: 'Leave them here', means: 'leave' },
      { verb: tried ? 'Try again' : 'Send them first', means: 'send', look: 'primary' },
    ],
  });
}
