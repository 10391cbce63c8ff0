import { effect } from '@preact/signals';
import { render } from 'preact';
import { path, startRouter } from './router';
import { askWho, me } from './session';
import { Shell } from './ui/Shell';
import './ui/tokens.css';
import './ui/base.css';

startRouter();
// A sign-in link brings its own answer to "who": asking first would only be refused.
effect(() => {
  if (me.value === undefined && path.value !== '/sign-in') void askWho();
});
render(<Shell />, document.getElementById('app') as HTMLElement);

// The worker keeps the pages and, in offline mode, pictures: none on plain http, and none in the way of the first paint.
if ('serviceWorker' in navigator && import.meta.env.PROD)
  addEventListener('load', () => void navigator.serviceWorker.register('/sw.js').catch(() => {}));
