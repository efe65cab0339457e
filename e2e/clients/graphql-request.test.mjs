import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientError, GraphQLClient } from 'graphql-request';
import { adminToken, bearer, demoToken, documents, endpoint, everyday, post } from './site.mjs';
import { record } from './wire.mjs';

for (const method of ['POST', 'GET']) {
  test(`everyday work, queries by ${method}`, async () => {
    const wire = record();
    await everyday((token) => {
      const client = new GraphQLClient(endpoint, { method, fetch: wire.fetch, headers: bearer(token) });
      return (name, variables) => client.request(documents[name], variables);
    });
    for (const exchange of wire.take()) {
      assert.equal(exchange.method, exchange.sent.query.startsWith('mutation') ? 'POST' : method);
      assert.equal(exchange.status, 200);
    }
  });
}

/** How a request fails: what apps branch on. */
async function failure(run) {
  const error = await run.then(() => assert.fail('got an answer, want an error'), (reason) => reason);
  assert.ok(error instanceof ClientError, String(error));
  const { status, errors, data } = error.response;
  return { status, codes: errors.map(({ extensions }) => extensions.code), errors, data };
}

test('errors have the shape that clients read', async () => {
  const client = new GraphQLClient(endpoint);

  const signedOut = await failure(client.request(documents.Feed, { first: 1 }));
  assert.deepEqual([signedOut.status, signedOut.codes], [200, ['UNAUTHENTICATED']]);
  assert.deepEqual([signedOut.data, signedOut.errors[0].path], [{ feed: null }, ['feed']]);

  const unknown = await failure(client.request('{ nothing }'));
  assert.deepEqual(unknown.codes, ['GRAPHQL_VALIDATION_FAILED']);
  assert.equal(unknown.data, undefined);
  assert.ok(unknown.errors[0].locations[0].line === 1);

  const variable = await failure(client.request(documents.Feed, { first: 'many' }));
  assert.deepEqual(variable.codes, ['BAD_USER_INPUT']);

  const stranger = new GraphQLClient(endpoint, { headers: bearer('nobody') });
  const refused = await failure(stranger.request('{ __typename }'));
  assert.deepEqual([refused.status, refused.codes], [401, ['UNAUTHENTICATED']]);
});

test('errors beside data, where the client asks for both', async () => {
  const client = new GraphQLClient(endpoint, { errorPolicy: 'all' });
  const { data, errors } = await client.rawRequest('{ viewer { scopes } config(platform: WEB) { version } }');
  assert.ok(data.config.version >= 1);
  assert.equal(data.viewer, null);
  assert.equal(errors[0].extensions.code, 'UNAUTHENTICATED');
});

test('a configuration that the administrator publishes is read at once', async () => {
  const publish = `mutation ($input: PublishConfigInput!) {
    publishConfig(input: $input) { config { version } userErrors { code } }
  }`;
  const admin = new GraphQLClient(endpoint, { headers: bearer(adminToken) });
  const reader = new GraphQLClient(endpoint, { method: 'GET' });
  for (let round = 0; round < 3; round++) {
    const before = await reader.request(documents.Config, { platform: 'WEB' });
    const input = { platform: 'WEB', minimumBuild: '1.0', basedOnVersion: before.config.version, features: [], values: [] };
    const { publishConfig } = await admin.request(publish, { input });
    assert.deepEqual(publishConfig, { config: { version: before.config.version + 1 }, userErrors: [] });
    const after = await reader.request(documents.Config, { platform: 'WEB' });
    assert.deepEqual(after.config, { version: before.config.version + 1, features: [] });
  }
  const demo = new GraphQLClient(endpoint, { headers: bearer(demoToken) });
  const input = { platform: 'WEB', minimumBuild: '1.0', features: [], values: [] };
  assert.deepEqual((await failure(demo.request(publish, { input }))).codes, ['FORBIDDEN']);
});

test('no client at all', async () => {
  const answer = await post({ query: documents.Config, variables: { platform: 'ANDROID' } });
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'application/json; charset=utf-8']);
  const byPost = await answer.json();
  assert.ok(byPost.data.config.version >= 1);

  const address = new URL(endpoint);
  address.searchParams.set('query', documents.Config);
  address.searchParams.set('variables', JSON.stringify({ platform: 'ANDROID' }));
  const byGet = await fetch(address, { headers: { accept: 'application/graphql-response+json' } });
  assert.equal(byGet.headers.get('content-type'), 'application/graphql-response+json; charset=utf-8');
  assert.deepEqual(await byGet.json(), byPost);

  address.searchParams.set('query', 'mutation { signOut { endedSessionId } }');
  const written = await fetch(address, { headers: bearer(demoToken) });
  assert.deepEqual([written.status, written.headers.get('allow')], [405, 'POST']);

  const refused = await post({ query: '{' }, { headers: { accept: 'application/graphql-response+json' } });
  assert.equal(refused.status, 400);
  const { errors, ...rest } = await refused.json();
  assert.deepEqual([errors[0].extensions.code, rest], ['GRAPHQL_PARSE_FAILED', {}]);
});
