/** The frame round every page but the labelling screen, and what stands there when nobody is signed in. */
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { navigate, path } from '../router';
import { askWho, away, gone, isOperator, me, signOut } from '../session';
import { ConfirmDialog } from './confirm';
import { lazy } from './lazy';
import { Notice } from './Notice';

const TaskList = lazy(() => import('../tasks/TaskList').then((page) => page.TaskList));
const TaskPage = lazy(() => import('../progress/TaskPage').then((page) => page.TaskPage));
const WorkersPage = lazy(() => import('../workers/WorkersPage').then((page) => page.WorkersPage));
const LabelList = lazy(() => import('../label/LabelList').then((page) => page.LabelList));

const TASK_PATH = /^\/tasks\/([0-9a-f-]{36})$/;

export function Frame({ at }: { at: string }) {
  if (away.value) return <Away />;
  if (me.value === undefined) return null;
  if (!me.value) return <SignedOut />;
  return (
    <>
      <Masthead />
      <main class="page">
        <Page at={at} />
        <ConfirmDialog />
      </main>
    </>
  );
}

function Page({ at }: { at: string }) {
  if (at === '/') return <Home />;
  if (at === '/tasks' && isOperator()) return <TaskList />;
  const task = TASK_PATH.exec(at)?.[1];
  if (task && isOperator()) return <TaskPage key={task} taskId={task} />;
  if (at === '/workers' && me.value?.role === 'admin') return <WorkersPage />;
  if (at === '/label') return <LabelList />;
  return (
    <Notice icon="empty" title="There is nothing here">
      <p>The address is wrong, or the page is not for your role.</p>
      <a class="button" href="/">
        To the start
      </a>
    </Notice>
  );
}

function Home() {
  useEffect(() => {
    navigate(isOperator() ? '/tasks' : '/label', { replace: true });
  }, []);
  return null;
}

function Masthead() {
  return (
    <header class="masthead">
      <a class="brand" href="/" aria-label="Data Label: to the start">
        <img src="/icon.svg" width="28" height="28" alt="" />
        <span aria-hidden="true">Data Label</span>
      </a>
      {isOperator() && (
        <nav class="tabs" aria-label="Pages">
          <Tab to="/tasks">Tasks</Tab>
          {me.value?.role === 'admin' && <Tab to="/workers">Workers</Tab>}
          <Tab to="/label">Label</Tab>
        </nav>
      )}
      <div class="who">
        <span class="who-name">{me.value?.name}</span>
        <button class="button quiet" onClick={() => void leave()}>
          Sign out
        </button>
      </div>
    </header>
  );
}

function Tab({ to, children }: { to: string; children: ComponentChildren }) {
  return (
    <a href={to} aria-current={path.value === to ? 'page' : path.value.startsWith(`${to}/`) ? 'true' : undefined}>
      {children}
    </a>
  );
}

async function leave(): Promise<void> {
  try {
    const { mayLeave } = await import('../label/leaving');
    if (!me.value || !(await mayLeave(me.value.id))) return;
    await signOut();
    navigate('/', { replace: true });
  } catch {
    away.value = true;
  }
}

function SignedOut() {
  const words = {
    never: [
      'Sign in with your link',
      'Open the sign-in link that you were given, or that the server printed when it started.',
    ],
    ended: [
      'Your session has ended',
      'Open a new sign-in link: the server prints one when it starts, and an admin can make more.',
    ],
    left: ['You are signed out', 'Open a new sign-in link to come back.'],
  } as const;
  const [title, text] = words[gone.value];
  return (
    <main class="page lone">
      <Notice icon="key" title={title}>
        <p>{text}</p>
      </Notice>
    </main>
  );
}

function Away() {
  return (
    <main class="page lone">
      <Notice icon="away" title="The server does not answer">
        <p>It may be starting, or the network is down.</p>
        <button class="button primary" onClick={() => void askWho()}>
          Try again
        </button>
      </Notice>
    </main>
  );
}
