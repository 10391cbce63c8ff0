/** A route whose code is fetched when somebody goes there. */
import type { ComponentType } from 'preact';
import { signal } from '@preact/signals';

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  const loaded = signal<ComponentType<P> | null>(null);
  const failed = signal(false);
  let asked = false;
  return function Lazy(props: P) {
    if (!asked) {
      asked = true;
      load().then(
        (component) => (loaded.value = component),
        () => (failed.value = true),
      );
    }
    if (failed.value) {
      // The server was updated since this page was opened, or is away: only a reload helps.
      return (
        <section class="notice" role="alert">
          <h1>This page could not be loaded</h1>
          <p>The server is away, or it was updated since you opened this page.</p>
          <button class="button" onClick={() => location.reload()}>
            Reload
          </button>
        </section>
      );
    }
    const Component = loaded.value;
    return Component ? <Component {...props} /> : null;
  };
}
