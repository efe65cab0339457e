import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createPersistedQueryLink } from '@apollo/client/link/persisted-queries';
import lists from '@apollo/persisted-query-lists';
import { connect, runner } from './apollo.mjs';
import { newDocuments, publish, temporaryDirectory } from './persisted.mjs';
import { everyday } from './site.mjs';
import { record } from './wire.mjs';

const shipped = newDocuments();
const manifest = generate();
const ids = manifest.operations.map(({ id }) => id);

/** Runs Apollo's generator over the app's documents. */
function generate() {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(shipped)) writeFileSync(join(directory, name + '.graphql'), text);
  writeFileSync(join(directory, 'persisted-query-manifest.config.json'), '{"documents": ["*.graphql"]}');
  const program = new URL('node_modules/@apollo/generate-persisted-query-manifest/cli.js', import.meta.url);
  execFileSync(process.execPath, [fileURLToPath(program)], { cwd: directory, stdio: 'pipe' });
  const file = join(directory, 'persisted-query-manifest.json');
  return { file, ...JSON.parse(readFileSync(file, 'utf8')) };
}

test('a generated manifest can be published', async () => {
  assert.equal(ids.length, 4);
  const config = manifest.operations.find(({ name }) => name.startsWith('Config'));
  const persistedQuery = { version: 1, sha256Hash: config.id };
  const report = await publish(manifest.file, 'apollo', { variables: { platform: 'IOS' }, extensions: { persistedQuery } });
  assert.equal(report.operations.length, 4);
});

for (const useGETForHashedQueries of [false, true]) {
  const method = useGETForHashedQueries ? 'GET' : 'POST';
  test(`everyday work by published ids, queries by ${method}`, async () => {
    const wire = record();
    const links = () => [
      createPersistedQueryLink({
        ...lists.generatePersistedQueryIdsFromManifest({ loadManifest: async () => manifest }),
        useGETForHashedQueries,
      }),
    ];
    await everyday((token) => runner(connect({ token, fetch: wire.fetch, links: links() }), shipped));
    for (const { method: got, status, sent } of wire.take()) {
      assert.deepEqual([status, sent.query], [200, undefined]);
      assert.ok(ids.includes(sent.extensions.persistedQuery.sha256Hash));
      assert.equal(got, sent.operationName.startsWith('SetBio') ? 'POST' : method);
    }
  });
}
