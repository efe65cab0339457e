// What the scripts about persisted operations share.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { documents, post, random } from './site.mjs';

export const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** The header by which a client that is ahead of the server isn't stuck with the server's ignorance. */
export const neverCached = 'private, no-cache, must-revalidate';

/** The documents of an app that the server can't know yet, for each operation has a new name. */
export function newDocuments() {
  const suffix = random();
  const rename = (text) => text.replace(/^(query|mutation) \w+/, (start) => `${start}_${suffix}`);
  return Object.fromEntries(Object.entries(documents).map(([name, text]) => [name, rename(text)]));
}

export function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-client-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * Publishes a manifest as a release of the app would, and returns when the server answers probe, a request by one of its
 * ids: it learns of the build by the change log, shortly after the command has ended.
 */
export async function publish(file, app, probe) {
  const args = ['persisted', 'publish', '--app', app, '--build', '1.0', file, '--activate', '--json'];
  const report = JSON.parse(execFileSync(process.env.FRESHET_PROGRAM, args, { encoding: 'utf8' }));
  assert.equal(report.state, 'active');
  while ((await post(probe)).status === 404 || !(await (await post(probe)).json()).data) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return report;
}

const persistedQuery = ({ sent }) => sent.extensions.persistedQuery;

/** Asserts that a client with automatic persisted queries met a server that didn't know its document yet. */
export function assertRegistered(exchanges, method, registerBy = 'POST') {
  assert.equal(exchanges.length, 2, 'a miss and a registration');
  const [miss, registration] = exchanges;
  assert.deepEqual([miss.method, miss.status, miss.sent.query], [method, 200, undefined]);
  assert.equal(miss.headers.get('cache-control'), neverCached);
  const { errors, ...rest } = miss.answer;
  assert.deepEqual(errors.map(({ message, extensions }) => [message, extensions.code]), [
    ['PersistedQueryNotFound', 'PERSISTED_QUERY_NOT_FOUND'],
  ]);
  assert.deepEqual(rest, {}, 'an answer to what was not executed has no data');

  assert.deepEqual([registration.method, registration.status], [registerBy, 200]);
  assert.equal(persistedQuery(registration).version, 1);
  assert.equal(persistedQuery(registration).sha256Hash, sha256(registration.sent.query));
  assert.equal(persistedQuery(registration).sha256Hash, persistedQuery(miss).sha256Hash);
  assert.ok(registration.answer.data);
}

/** Asserts that one request, by its id alone, was all that was needed. */
export function assertById(exchanges, method) {
  assert.equal(exchanges.length, 1);
  assert.deepEqual([exchanges[0].method, exchanges[0].status, exchanges[0].sent.query], [method, 200, undefined]);
  assert.ok(exchanges[0].answer.data);
}
