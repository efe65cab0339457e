// urql as an app sets it up, without a framework.
import { Client, fetchExchange } from '@urql/core';
import { bearer, documents, endpoint } from './site.mjs';

/** exchanges stand before the one that speaks HTTP. */
export function connect({ token, fetch, preferGetMethod, exchanges = [] }) {
  return new Client({
    url: endpoint,
    fetch,
    preferGetMethod,
    exchanges: [...exchanges, fetchExchange],
    fetchOptions: { headers: bearer(token) },
  });
}

/** For everyday(). */
export function runner(client, shipped = documents) {
  return async (name, variables) => {
    const result = await client[name === 'SetBio' ? 'mutation' : 'query'](shipped[name], variables).toPromise();
    if (result.error) throw result.error;
    return result.data;
  };
}
