/** Which page stands at which path. Who labels loads no more than labelling takes. */
import { path } from '../router';
import { away, gone, last, me } from '../session';
import { lazy } from './lazy';

const SignIn = lazy(() => import('../signin/SignIn').then((page) => page.SignIn));
const LabelPage = lazy(() => import('../label/LabelPage').then((page) => page.LabelPage));
const Frame = lazy(() => import('./Frame').then((page) => page.Frame));

const LABEL_PATH = /^\/label\/([0-9a-f-]{36})$/;

export function Shell() {
  const at = path.value;
  if (at === '/sign-in') return <SignIn />;
  const task = LABEL_PATH.exec(at)?.[1];
  // The labelling page keeps unsent answers: it stays up when the session ends under it, and says so itself.
  const person = me.value ?? (gone.value === 'ended' ? last.value : null);
  if (task && person && !away.value) return <LabelPage key={`${task} ${person.id}`} taskId={task} userId={person.id} />;
  return <Frame at={at} />;
}
