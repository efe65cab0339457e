import assert from 'node:assert/strict';
import { test } from 'node:test';
import { neverCached, publish } from './persisted.mjs';
import { compile, connect, runner } from './relay.mjs';
import { everyday, post } from './site.mjs';
import { record } from './wire.mjs';

const { artifacts, map, persisted } = await compile({ persist: true });

test('the map of relay-compiler can be published', async () => {
  assert.equal(Object.keys(persisted).length, 4);
  assert.ok(Object.keys(persisted).every((id) => /^[0-9a-f]{32}$/.test(id)));
  const unknown = await post({ doc_id: artifacts.Config.params.id, variables: { platform: 'IOS' } });
  assert.equal(unknown.status, 404);
  const report = await publish(map, 'relay', { doc_id: artifacts.Config.params.id, variables: { platform: 'IOS' } });
  assert.equal(report.operations.length, 4);
});

test('everyday work by doc_id', async () => {
  const wire = record();
  await everyday((token) => runner(connect({ token, fetch: wire.fetch }), artifacts));
  for (const { status, sent } of wire.take()) {
    assert.deepEqual([status, sent.query], [200, undefined]);
    assert.ok(persisted[sent.doc_id]);
  }
});

test('an unknown doc_id is an error that no cache keeps', async () => {
  const answer = await post({ doc_id: '0'.repeat(32), variables: {} });
  assert.deepEqual([answer.status, answer.headers.get('cache-control')], [404, neverCached]);
  const { errors, ...rest } = await answer.json();
  assert.deepEqual([errors[0].extensions.code, rest], ['PERSISTED_QUERY_NOT_IN_LIST', {}]);
});
