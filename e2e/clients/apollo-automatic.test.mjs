import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gql } from '@apollo/client/core';
import { createPersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { connect, runner } from './apollo.mjs';
import { assertById, assertRegistered, newDocuments, sha256 } from './persisted.mjs';
import { demoToken, everyday } from './site.mjs';
import { record } from './wire.mjs';

for (const useGETForHashedQueries of [false, true]) {
  const method = useGETForHashedQueries ? 'GET' : 'POST';
  const link = () => createPersistedQueryLink({ sha256, useGETForHashedQueries });

  test(`an unknown document is registered once, hashes by ${method}`, async () => {
    const wire = record();
    const query = gql(newDocuments().Feed);
    const ask = (first) => {
      const client = connect({ token: demoToken, fetch: wire.fetch, links: [link()] }); // an app that starts anew
      return client.query({ query, variables: { first } });
    };
    const { data } = await ask(3);
    assert.equal(data.feed.nodes.length, 3);
    assertRegistered(wire.take(), method);
    assert.deepEqual((await ask(3)).data, data);
    assertById(wire.take(), method);
    assert.equal((await ask(5)).data.feed.nodes.length, 5);
    assertById(wire.take(), method);
  });

  test(`everyday work, hashes by ${method}`, async () => {
    const wire = record();
    const shipped = newDocuments();
    await everyday((token) => runner(connect({ token, fetch: wire.fetch, links: [link()] }), shipped));
    const exchanges = wire.take();
    assert.equal(exchanges.filter(({ sent }) => sent.query).length, 4, 'each of four documents is sent once');
    for (const { method: got, status, sent } of exchanges) {
      assert.equal(got, sent.query || sent.operationName.startsWith('SetBio') ? 'POST' : method);
      assert.equal(status, 200);
    }
  });
}

test('a hash that is not the document’s is refused', async () => {
  const wire = record();
  const link = createPersistedQueryLink({ sha256: (text) => sha256(text + 'x') });
  const client = connect({ token: demoToken, fetch: wire.fetch, links: [link] });
  await assert.rejects(client.query({ query: gql(newDocuments().Feed), variables: { first: 1 } }));
  const [miss, registration] = wire.take();
  assert.deepEqual([miss.status, registration.status], [200, 400]);
  assert.equal(registration.answer.errors[0].message, 'provided sha does not match query');
});
