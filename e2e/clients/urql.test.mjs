import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everyday } from './site.mjs';
import { connect, runner } from './urql.mjs';
import { record } from './wire.mjs';

for (const method of ['POST', 'GET']) {
  test(`everyday work, queries by ${method}`, async () => {
    const wire = record();
    await everyday((token) =>
      runner(connect({ token, fetch: wire.fetch, preferGetMethod: method === 'GET' ? 'force' : false })),
    );
    for (const exchange of wire.take()) {
      assert.equal(exchange.method, exchange.sent.operationName === 'SetBio' ? 'POST' : method);
      assert.equal(exchange.status, 200);
    }
  });
}

test('what a signed-out viewer may not see is an error beside the data', async () => {
  const { data, error } = await connect({}).query('{ viewer { scopes } config(platform: WEB) { version } }', {});
  assert.ok(data.config.version >= 1);
  assert.equal(error.graphQLErrors[0].extensions.code, 'UNAUTHENTICATED');
});

test('a document that is refused says why', async () => {
  const { data, error } = await connect({}).query('{ nothing }', {});
  assert.equal(data, undefined);
  assert.equal(error.graphQLErrors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
});
