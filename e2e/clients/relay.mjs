// Relay as an app sets it up, but for React: what its compiler makes of relay/ is imported from a temporary directory.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import relay from 'relay-runtime';
import { bearer, endpoint } from './site.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const names = { Feed: 'ClientFeedQuery', Profile: 'ClientProfileQuery', Config: 'ClientConfigQuery', SetBio: 'ClientSetBioMutation' };

/** Runs relay-compiler. Gives its artifacts by the names of documents and, where they are persisted, the map's path. */
export async function compile({ persist = false } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-relay-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  cpSync(here('relay'), join(directory, 'src'), { recursive: true });
  cpSync(here('../../schema.graphqls'), join(directory, 'schema.graphql'));
  mkdirSync(join(directory, 'made'));
  const map = join(directory, 'persisted.json');
  if (persist) writeFileSync(map, '{}');
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}');
  writeFileSync(
    join(directory, 'relay.config.json'),
    JSON.stringify({
      src: './src',
      schema: './schema.graphql',
      artifactDirectory: './made',
      language: 'javascript',
      eagerEsModules: true,
      ...(persist && { persistConfig: { file: './persisted.json' } }),
    }),
  );
  execFileSync(process.execPath, [here('node_modules/relay-compiler/cli.js')], { cwd: directory, stdio: 'pipe' });
  const artifacts = {};
  for (const [name, made] of Object.entries(names)) {
    const { default: artifact } = await import(pathToFileURL(join(directory, 'made', made + '.graphql.js')));
    artifacts[name] = artifact;
  }
  return { artifacts, map, persisted: persist && JSON.parse(readFileSync(map, 'utf8')) };
}

/**
 * An environment over HTTP. Relay takes ids to be unique among all types; Freshet's are within theirs, so that the type
 * has to be part of the key in Relay's store.
 */
export function connect({ token, fetch = globalThis.fetch }) {
  const network = relay.Network.create(async ({ id, text }, variables) => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer(token) },
      body: JSON.stringify({ ...(id ? { doc_id: id } : { query: text }), variables }),
    });
    return response.json();
  });
  return new relay.Environment({
    network,
    store: new relay.Store(new relay.RecordSource()),
    getDataID: ({ id }, type) => id && `${type}:${id}`,
  });
}

/** For everyday(). */
export function runner(environment, artifacts) {
  return async (name, variables) => {
    if (name !== 'SetBio') {
      return relay.fetchQuery(environment, artifacts[name], variables, { fetchPolicy: 'network-only' }).toPromise();
    }
    return new Promise((resolve, onError) => {
      const onCompleted = (data, errors) => (errors ? onError(new Error(errors[0].message)) : resolve(data));
      relay.commitMutation(environment, { mutation: artifacts[name], variables, onCompleted, onError });
    });
  };
}
