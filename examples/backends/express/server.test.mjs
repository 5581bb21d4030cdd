// Tests the backend against a running sandbox; SANDBOX_URL is its control port.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { backend } from './server.mjs';

const SANDBOX = process.env.SANDBOX_URL ?? 'http://127.0.0.1:9229/sandbox';
let app, server;

before(async () => {
  const sandbox = await (await fetch(SANDBOX)).json();
  app = backend(process.env.LOOKUP_TARGET ?? sandbox.replicas[0].grpc);
  await new Promise((listening) => (server = app.listen(0, '127.0.0.1', listening)));
});
after(() => server.close(app.locals.close()));
beforeEach(() => fetch(`${SANDBOX}/reset`, { method: 'POST' }));

// Calls the backend with a new token of a user, which may have flaws.
async function me(user, flaws = {}) {
  const body = JSON.stringify({ user, ...flaws });
  const { access_token: token } = await (await fetch(`${SANDBOX}/token`, { method: 'POST', body })).json();
  return call({ authorization: `Bearer ${token}` });
}

async function call(headers) {
  const response = await fetch(`http://127.0.0.1:${server.address().port}/me`, { headers });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test('the user is returned', async () => {
  assert.deepEqual((await me('ada')).body, { name: 'Ada Lovelace', email: 'ada@example.com' });
});

for (const [user, flaws, status, reason] of [
  ['ada', { expired: true }, 401, 'TOKEN_EXPIRED'],
  ['ada', { forged: true }, 401, 'TOKEN_INVALID'],
  ['ada', { id: true }, 400, 'ID_TOKEN_REFUSED'],
  ['bob', {}, 403, 'USER_DISABLED'],
]) {
  test(`a token is refused with ${reason}`, async () => {
    const answer = await me(user, flaws);
    assert.deepEqual([answer.status, answer.body], [status, { error: reason }]);
  });
}

test('a missing header asks for a token', async () => {
  const answer = await call({});
  assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, 'Bearer']);
});

test('a throttled Cognito is a 503 with a delay', async () => {
  await fetch(`${SANDBOX}/fault/throttle`, { method: 'PUT' });
  const answer = await me('ada');
  assert.deepEqual([answer.status, answer.body], [503, { error: 'UPSTREAM_THROTTLED' }]);
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
});
