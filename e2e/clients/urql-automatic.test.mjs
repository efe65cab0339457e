import assert from 'node:assert/strict';
import { test } from 'node:test';
import { persistedExchange } from '@urql/exchange-persisted';
import { assertById, assertRegistered, newDocuments } from './persisted.mjs';
import { demoToken, everyday } from './site.mjs';
import { connect, runner } from './urql.mjs';
import { record } from './wire.mjs';

for (const method of ['POST', 'GET']) {
  const exchange = () =>
    persistedExchange({
      preferGetForPersistedQueries: method === 'GET' ? 'force' : false,
      enableForMutation: true,
    });

  test(`an unknown document is registered once, queries by ${method}`, async () => {
    const wire = record();
    const shipped = newDocuments();
    const ask = (first) => {
      const client = connect({ token: demoToken, fetch: wire.fetch, exchanges: [exchange()] }); // an app that starts anew
      return runner(client, shipped)('Feed', { first });
    };
    const data = await ask(3);
    assert.equal(data.feed.nodes.length, 3);
    assertRegistered(wire.take(), method, method); // urql registers as it asks
    assert.deepEqual(await ask(3), data);
    assertById(wire.take(), method);
    assert.equal((await ask(5)).feed.nodes.length, 5);
    assertById(wire.take(), method);
  });

  test(`everyday work, queries by ${method}`, async () => {
    const wire = record();
    const shipped = newDocuments();
    await everyday((token) => runner(connect({ token, fetch: wire.fetch, exchanges: [exchange()] }), shipped));
    const exchanges = wire.take();
    assert.equal(exchanges.filter(({ sent }) => sent.query).length, 4, 'each of four documents is sent once');
    for (const { method: got, status, sent } of exchanges) {
      assert.equal(got, sent.operationName.startsWith('SetBio') ? 'POST' : method);
      assert.equal(status, 200);
    }
  });
}
