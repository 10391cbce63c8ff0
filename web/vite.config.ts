import { defineConfig } from 'vite';

// Vite compiles JSX itself: no plugin. The build runs without the dev tools, so nothing of them is imported here.
export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // The content security policy allows styles and scripts from files only.
    assetsInlineLimit: 0,
    // The size budget of the routes is read from it (tests/browser/test_budget.py).
    manifest: true,
  },
  // `npm run dev`: the API and the images come from a running `comfylabel up`.
  server: { proxy: { '/api': 'http://127.0.0.1:8765', '/images': 'http://127.0.0.1:8765' } },
});
