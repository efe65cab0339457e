// The audit suite of graphql-http: what a server must, should and may do by the GraphQL-over-HTTP draft.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverAudits } from 'graphql-http';
import { endpoint } from './site.mjs';

const audits = serverAudits({ url: endpoint, fetchFn: fetch });

test('there are as many audits as ever', () => assert.equal(audits.length, 61));

for (const audit of audits) {
  test(`${audit.id} ${audit.name}`, async () => {
    const result = await audit.fn();
    const got = result.status === 'ok' ? '' : await result.response.text();
    assert.equal(result.status, 'ok', `${result.reason}: got ${result.response?.status} ${got}`);
  });
}
