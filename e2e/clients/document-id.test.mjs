// Persisted operations without a client: the draft's documentId, and what automatic persisted queries refuse.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { neverCached, newDocuments, publish, sha256, temporaryDirectory } from './persisted.mjs';
import { bearer, demoToken, endpoint, post } from './site.mjs';

const shipped = newDocuments();
const ids = Object.fromEntries(Object.entries(shipped).map(([name, text]) => [name, 'sha256:' + sha256(text)]));
const variables = { platform: 'IOS' };

function get(parameters, headers) {
  const address = new URL(endpoint);
  for (const [name, value] of Object.entries(parameters)) {
    address.searchParams.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  }
  return fetch(address, { headers });
}

async function assertRefused(answer, status, code) {
  const { errors, ...rest } = await answer.json();
  assert.deepEqual([answer.status, errors.length, errors[0].extensions.code, rest], [status, 1, code, {}]);
}

test('what was published is known by its documentId', async () => {
  const file = join(temporaryDirectory(), 'persisted.json');
  writeFileSync(file, JSON.stringify(Object.fromEntries(Object.entries(shipped).map(([name, text]) => [ids[name], text]))));
  await assertRefused(await post({ documentId: ids.Config, variables }), 404, 'PERSISTED_QUERY_NOT_IN_LIST');
  await publish(file, 'plain', { documentId: ids.Config, variables });

  const whole = await (await post({ query: shipped.Config, variables })).json();
  assert.ok(whole.data.config.version >= 1);
  for (const ask of [
    () => get({ documentId: ids.Config, variables }),
    () => post({ documentId: ids.Config, variables }),
    () => post({ doc_id: ids.Config, variables }),
    () => post({ id: ids.Config, variables }),
  ]) {
    const answer = await ask();
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), whole);
  }
});

test('a published mutation stays one: not by GET', async () => {
  const answer = await get({ documentId: ids.SetBio, variables: { bio: 'by GET' } }, bearer(demoToken));
  assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'POST']);
});

test('an unknown documentId is an error that no cache keeps', async () => {
  for (const ask of [get, post]) {
    const answer = await ask({ documentId: 'sha256:' + '0'.repeat(64) });
    assert.equal(answer.headers.get('cache-control'), neverCached);
    await assertRefused(answer, 404, 'PERSISTED_QUERY_NOT_IN_LIST');
  }
});

test('a document that is not valid is not kept', async () => {
  const query = newDocuments().Config.replace('version', 'nothing');
  const persistedQuery = { version: 1, sha256Hash: sha256(query) };
  const registration = await post({ query, variables, extensions: { persistedQuery } });
  await assertRefused(registration, 400, 'GRAPHQL_VALIDATION_FAILED');
  const answer = await post({ variables, extensions: { persistedQuery } });
  await assertRefused(answer, 200, 'PERSISTED_QUERY_NOT_FOUND');
});

test('another version of automatic persisted queries is refused', async () => {
  const answer = await post({ extensions: { persistedQuery: { version: 2, sha256Hash: '0'.repeat(64) } } });
  await assertRefused(answer, 400, 'BAD_REQUEST');
});
