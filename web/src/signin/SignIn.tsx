/** /sign-in#token=…: the token rides behind the #, so that it reaches no server log and no other site. */
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../api/client';
import { navigate } from '../router';
import { signIn } from '../session';
import { Notice } from '../ui/Notice';

type State = 'working' | 'refused' | 'missing' | 'away';

/** Taken once, when the page opens; it leaves the address bar and the history at the same moment. */
function takeToken(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
  history.replaceState(null, '', '/sign-in');
  return token;
}

export function SignIn() {
  const [token] = useState(takeToken);
  const [state, setState] = useState<State>(token ? 'working' : 'missing');
  const send = async () => {
    setState('working');
    try {
      await signIn(token);
      navigate('/', { replace: true });
    } catch (error) {
      setState(error instanceof ApiError && error.passing ? 'away' : 'refused');
    }
  };
  useEffect(() => {
    if (token) void send();
  }, []);
  return <main class="page lone">{notice(state, send)}</main>;
}

function notice(state: State, again: () => void) {
  switch (state) {
    case 'working':
      return <Notice icon="key" title="Signing you in…" live />;
    case 'refused':
      return (
        <Notice icon="key" title="Your link has expired" live>
          <p>A sign-in link works once, and for ten minutes. Start the server again, or ask an admin, for a new one.</p>
          <a class="button" href="/">
            To the start
          </a>
        </Notice>
      );
    case 'missing':
      return (
        <Notice icon="key" title="This link is not complete" live>
          <p>Copy the whole link, with everything behind the # sign.</p>
        </Notice>
      );
    case 'away':
      return (
        <Notice icon="away" title="The server does not answer" live>
          <p>Your link was not used up.</p>
          <button class="button primary" onClick={again}>
            Try again
          </button>
        </Notice>
      );
  }
}
