import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { preset } from '@graphql-codegen/client-preset';
import { codegen } from '@graphql-codegen/core';
import { persistedExchange } from '@urql/exchange-persisted';
import { buildSchema, parse } from 'graphql';
import { newDocuments, publish, temporaryDirectory } from './persisted.mjs';
import { everyday } from './site.mjs';
import { connect, runner } from './urql.mjs';
import { record } from './wire.mjs';

const shipped = newDocuments();
const generated = await generate();
const typed = typedDocuments(generated['graphql.ts']);
const ids = Object.keys(JSON.parse(generated['persisted-documents.json']));

/** What Code Generator writes for its client preset, by the name of the file: its core, without its command line. */
async function generate() {
  const schema = readFileSync(new URL('../../schema.graphqls', import.meta.url), 'utf8');
  const sections = await preset.buildGeneratesSection({
    baseOutputDir: 'made/',
    schema: parse(schema),
    schemaAst: buildSchema(schema),
    documents: Object.entries(shipped).map(([name, text]) => ({ location: name, document: parse(text), rawSDL: text })),
    config: {},
    plugins: [],
    pluginMap: {},
    presetConfig: { persistedDocuments: true },
  });
  const files = await Promise.all(sections.map(async (section) => [basename(section.filename), await codegen(section)]));
  return Object.fromEntries(files);
}

/** The documents in the generated TypeScript, which are JSON with a type behind, under the names that they have here. */
function typedDocuments(source) {
  const found = source.matchAll(/^export const (\w+)Document = (\{.*\}) as unknown as /gm);
  const all = [...found].map(([, name, json]) => [name, JSON.parse(json)]);
  return Object.fromEntries(
    Object.keys(shipped).map((name) => [name, all.find(([made]) => made.startsWith(name + '_'))[1]]),
  );
}

test('the map of Code Generator can be published', async () => {
  assert.equal(ids.length, 4);
  assert.ok(ids.every((id) => /^sha256:[0-9a-f]{64}$/.test(id)));
  const file = join(temporaryDirectory(), 'persisted-documents.json');
  writeFileSync(file, generated['persisted-documents.json']);
  const probe = { documentId: typed.Config.__meta__.hash, variables: { platform: 'IOS' } };
  const report = await publish(file, 'urql', probe);
  assert.equal(report.operations.length, 4);
});

for (const method of ['POST', 'GET']) {
  test(`everyday work by published ids, queries by ${method}`, async () => {
    const wire = record();
    const exchange = () =>
      persistedExchange({
        preferGetForPersistedQueries: method === 'GET' ? 'force' : false,
        enforcePersistedQueries: true,
        enableForMutation: true,
        generateHash: async (_, document) => document.__meta__.hash,
      });
    await everyday((token) => runner(connect({ token, fetch: wire.fetch, exchanges: [exchange()] }), typed));
    for (const { method: got, status, sent } of wire.take()) {
      assert.deepEqual([status, sent.query], [200, undefined]);
      assert.ok(ids.includes(sent.extensions.persistedQuery.sha256Hash));
      assert.equal(got, sent.operationName.startsWith('SetBio') ? 'POST' : method);
    }
  });
}
