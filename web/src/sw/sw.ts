/**
 * The service worker: the shell of the app and its own files, so that a reload without network shows the app, and the
 * pictures of the offline mode. Nothing of the API is ever kept, nor a page that carries data; pictures stay in the
 * browser's own cache. It imports nothing: it is one classic script at the root.
 */
export type {};
declare const self: ServiceWorkerGlobalScope;

/** Written by the build (vite.config.ts): a hash over the files, and their addresses. */
const [version, files] = JSON.parse('__SHELL__') as [string, string[]];
/** Other programs may live at this address too: localhost is everybody's. */
const SHELLS = 'comfylabel-shell-';
const SHELL_CACHE = SHELLS + version;
/** engine/kept.ts fills it. */
const KEPT_CACHE = 'comfylabel-kept';
const KEPT_PATH = '/kept/';
const SHELL = '/index.html';
/** Also in label/device.ts. */
const TAKE_ME = 'take me';
/** A page that has not begun to come by then is not waited for: people stand in lifts and trains. */
const PATIENCE_MS = 3_000;
/** What never passes through here: the answer is the server's own. */
const SERVER_PATHS = ['/api/', '/images/'];

self.addEventListener('install', (event) => {
  // Chromium then does not even ask this script about them.
  (event as RouterInstallEvent).addRoutes?.(
    SERVER_PATHS.map((path) => ({ condition: { urlPattern: { pathname: `${path}*` } }, source: 'network' as const })),
  );
  event.waitUntil(fill());
});

self.addEventListener('activate', (event) => event.waitUntil(takeOver()));

/**
 * A page that was there before this worker is taken over only when it asks: Chromium then forgets which pictures it has
 * in memory, and whoever labels would have those of the coming batches fetched anew.
 */
self.addEventListener('message', (event) => {
  if (event.data === TAKE_ME) event.waitUntil(self.clients.claim());
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== self.location.origin) return;
  if (SERVER_PATHS.some((path) => pathname.startsWith(path))) return;
  if (request.mode === 'navigate') event.respondWith(page(event));
  else if (pathname.startsWith(KEPT_PATH)) event.respondWith(kept(request));
  else if (files.includes(pathname)) event.respondWith(own(request));
});

async function fill(): Promise<void> {
  const cache = await caches.open(SHELL_CACHE);
  // Names hold a hash of what is in them, but the shell's does not: past the browser's own cache.
  await cache.addAll(
    files.map((file) => new Request(file, { cache: file.startsWith('/assets/') ? 'default' : 'reload' })),
  );
}

async function takeOver(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(SHELLS) && name !== SHELL_CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  // The browser asks the server while this script is still being started.
  await self.registration.navigationPreload?.enable();
}

/** From the network; the plain shell where that fails, takes long, or only a proxy answers. */
async function page(event: FetchEvent): Promise<Response> {
  const network = fromNetwork(event);
  // Whoever answers: what is under way is not cut off.
  event.waitUntil(
    network.then(
      () => undefined,
      () => undefined,
    ),
  );
  const shell = async () => (await caches.match(SHELL, { cacheName: SHELL_CACHE })) ?? network;
  const patience = new Promise<null>((resolve) => setTimeout(resolve, PATIENCE_MS, null));
  try {
    const answer = await Promise.race([network, patience]);
    return answer && answer.status < 502 ? answer : await shell();
  } catch {
    return shell();
  }
}

async function fromNetwork(event: FetchEvent): Promise<Response> {
  const preloaded = (await event.preloadResponse) as Response | undefined;
  return preloaded ?? fetch(event.request);
}

async function kept(request: Request): Promise<Response> {
  return (await caches.match(request, { cacheName: KEPT_CACHE })) ?? Response.error();
}

async function own(request: Request): Promise<Response> {
  return (await caches.match(request, { cacheName: SHELL_CACHE })) ?? fetch(request);
}

/** https://wicg.github.io/service-worker-static-routing-api/ */
interface RouterInstallEvent extends ExtendableEvent {
  addRoutes?(rules: readonly { condition: { urlPattern: { pathname: string } }; source: 'network' }[]): Promise<void>;
}
