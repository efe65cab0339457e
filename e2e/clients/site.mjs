// What the Go test says of the running server, and the few things that every client's script does with it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const endpoint = process.env.FRESHET_URL + '/graphql';
export const demoToken = process.env.FRESHET_TOKEN;
export const adminToken = process.env.FRESHET_ADMIN_TOKEN;

export const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});

/** The documents that an app ships, by the name of their operation. */
export const documents = Object.fromEntries(
  Object.entries({ Feed: 'feed', Profile: 'profile', Config: 'config', SetBio: 'set-bio' }).map(([name, file]) => [
    name,
    readFileSync(new URL(`operations/${file}.graphql`, import.meta.url), 'utf8'),
  ]),
);

export const random = () => randomBytes(6).toString('hex');

/** Sends JSON without any client. */
export async function post(body, { token, headers, fetch = globalThis.fetch } = {}) {
  return fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(token), ...headers },
    body: JSON.stringify(body),
  });
}

/** A new account, so that scripts that run at the same time don't write over each other's. */
export async function signUp() {
  const input = { handle: 'c' + random(), name: 'A client', password: random() };
  const query = `mutation ($input: SignUpInput!) { signUp(input: $input) { token } }`;
  const { data } = await (await post({ query, variables: { input } })).json();
  return { handle: input.handle, token: data.signUp.token };
}

/**
 * What every app does, through a client: connect(token) gives run(name, variables), which executes the operation of that
 * name on the server, not from the client's own cache, and gives its data.
 */
export async function everyday(connect) {
  const demo = connect(demoToken);
  const { feed } = await demo('Feed', { first: 20 });
  assert.equal(feed.nodes.length, 20);
  assert.ok(feed.nodes.every((post) => post.title && post.author.name));
  assert.equal(feed.pageInfo.hasNextPage, true);

  const { config } = await demo('Config', { platform: 'IOS' });
  assert.ok(config.version >= 1);
  assert.ok(config.features.length > 0);

  const account = await signUp();
  const mine = connect(account.token);
  const before = await demo('Profile', { handle: account.handle });
  assert.deepEqual([before.profileByHandle.handle, before.profileByHandle.bio], [account.handle, '']);
  for (const bio of ['first', 'second', 'third']) {
    const { updateProfile } = await mine('SetBio', { bio });
    assert.deepEqual([updateProfile.profile.bio, updateProfile.userErrors], [bio, []]);
    const after = await demo('Profile', { handle: account.handle });
    assert.equal(after.profileByHandle.bio, bio, 'a read after the write must see it');
  }
  const refused = await mine('SetBio', { bio: 'x'.repeat(501) });
  assert.equal(refused.updateProfile.profile, null);
  assert.deepEqual(refused.updateProfile.userErrors.map(({ code, path }) => ({ code, path: [...path] })), [
    { code: 'TOO_LONG', path: ['input', 'bio'] },
  ]);
}
