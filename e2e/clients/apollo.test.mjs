import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CombinedGraphQLErrors, gql } from '@apollo/client/core';
import { connect, runner } from './apollo.mjs';
import { demoToken, documents, everyday } from './site.mjs';
import { record } from './wire.mjs';

for (const useGETForQueries of [false, true]) {
  const method = useGETForQueries ? 'GET' : 'POST';
  test(`everyday work, queries by ${method}`, async () => {
    const wire = record();
    await everyday((token) => runner(connect({ token, fetch: wire.fetch, useGETForQueries })));
    for (const exchange of wire.take()) {
      assert.equal(exchange.method, exchange.sent.operationName === 'SetBio' ? 'POST' : method);
      assert.equal(exchange.status, 200);
    }
  });
}

test('what a signed-out viewer may not see is an error beside the data', async () => {
  const client = connect({});
  const query = gql`
    query Both {
      viewer {
        scopes
      }
      config(platform: WEB) {
        version
      }
    }
  `;
  const { data, error } = await client.query({ query, errorPolicy: 'all' });
  assert.ok(data.config.version >= 1);
  assert.ok(CombinedGraphQLErrors.is(error));
  assert.equal(error.errors[0].extensions.code, 'UNAUTHENTICATED');
});

test('one object in the client cache for each type and id', async () => {
  const client = connect({ token: demoToken });
  await client.query({ query: gql(documents.Feed), variables: { first: 5 } });
  const kept = Object.keys(client.cache.extract());
  assert.equal(kept.filter((key) => key.startsWith('Post:')).length, 5);
  assert.ok(kept.some((key) => key.startsWith('Profile:')));
});
