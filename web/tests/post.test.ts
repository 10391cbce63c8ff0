import assert from 'node:assert/strict';
import { test } from 'node:test';
import { post } from '../src/label/post.ts';

Object.assign(globalThis, { document: { visibilityState: 'visible' } });

const refusal = (words: string) => JSON.stringify({ success: false, error: words, code: 'invalid' });
const page = '<html><body>Sign in to the Wi-Fi</body></html>';
const list = JSON.stringify({ success: true, data: [{ client_id: 'a', status: 'stored' }] });

for (const [what, status, body, count, outcome] of [
  ['a list of results', 200, list, 1, [{ client_id: 'a', status: 'stored' }]],
  ['a refusal in the server’s own words', 400, refusal('No.'), 1, { refused: 'No.' }],
  ['a session that has ended', 401, refusal('Sign in.'), 1, 'signed out'],
  ['too many requests', 429, page, 1, 'later'],
  ['the page of a captive portal', 200, page, 1, 'later'],
  ['JSON that is not ours', 200, '{"portal": true}', 1, 'later'],
  ['JSON that is nothing', 200, 'null', 1, 'later'],
  ['the error page of a proxy', 400, page, 1, 'later'],
  ['a proxy that takes no lists so long', 413, page, 2, { refused: 'The server answered with status 413.' }],
  ['a proxy that takes nothing', 413, page, 1, 'later'],
] as const) {
  test(`${what} (${status}, ${count} sent)`, async (context) => {
    context.mock.method(globalThis, 'fetch', async () => new Response(body, { status }));
    const sent = Array.from({ length: count }, (_, number) => ({ client_id: `n${number}` }));
    assert.deepEqual(await post(sent), outcome);
  });
}
