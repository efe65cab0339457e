import assert from 'node:assert/strict';
import { test } from 'node:test';
import relay from 'relay-runtime';
import { compile, connect, runner } from './relay.mjs';
import { demoToken, everyday } from './site.mjs';
import { record } from './wire.mjs';

const { artifacts } = await compile();

test('everyday work', async () => {
  const wire = record();
  await everyday((token) => runner(connect({ token, fetch: wire.fetch }), artifacts));
  assert.ok(wire.take().every(({ status, sent }) => status === 200 && sent.query));
});

test('an error beside the data reaches the app', async () => {
  const run = runner(connect({}), artifacts);
  await assert.rejects(run('SetBio', { bio: '' }), /signed in/);
});

test('a post and a profile with the same id are two records', async () => {
  const environment = connect({ token: demoToken });
  await runner(environment, artifacts)('Feed', { first: 5 });
  const ids = environment.getStore().getSource().getRecordIDs();
  assert.equal(ids.filter((id) => /^Post:\d+$/.test(id)).length, 5);
  assert.ok(ids.some((id) => /^Profile:\d+$/.test(id)));
});
