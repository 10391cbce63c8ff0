import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

const BASE = /node_modules.@?preact|src.(router|session|first|api.client|ui.(lazy|memory|Line|title)|label.server)/;

// Vite compiles JSX itself: no plugin. The build runs without the dev tools, so nothing of them is imported here.
export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [shellOfTheWorker()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // The content security policy allows styles and scripts from files only.
    assetsInlineLimit: 0,
    // The size budget of the routes is read from it (tests/browser/test_budget.py).
    manifest: true,
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/sw/sw.ts' },
      output: {
        // A service worker has one address for ever, and rules over what lies below it.
        entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
        // What every page needs is one file: a file for each little thing compresses badly.
        codeSplitting: { groups: [{ name: 'base', test: BASE }] },
      },
    },
  },
  // `npm run dev`: the API and the images come from a running `comfylabel up`.
  server: { proxy: { '/api': 'http://127.0.0.1:8765', '/images': 'http://127.0.0.1:8765' } },
});

/** Writes into the service worker which files this build made, and one hash over all of them. */
function shellOfTheWorker(): Plugin {
  return {
    name: 'shell-of-the-worker',
    apply: 'build',
    generateBundle: {
      // After Vite has taken out the scripts that would be empty: a file that is not there keeps the worker from coming.
      order: 'post',
      handler(_, bundle) {
        const worker = bundle['sw.js'];
        if (worker?.type !== 'chunk') return;
        const assets = Object.keys(bundle).filter((name) => name.startsWith('assets/'));
        const beside = readdirSync('public');
        const version = createHash('sha256').update(assets.sort().join()).update(readFileSync('index.html'));
        for (const name of beside) version.update(readFileSync(`public/${name}`));
        const files = ['index.html', ...beside, ...assets].map((name) => `/${name}`);
        worker.code = worker.code.replace('__SHELL__', JSON.stringify([version.digest('hex').slice(0, 16), files]));
      },
    },
  };
}
