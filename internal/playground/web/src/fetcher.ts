import type { Fetcher } from '@graphiql/toolkit';
import type { Config } from './config';
import { describePolicy } from './policy';

/** Sends operations to the endpoint; what introspection answers gets the cache policy added. */
export function createFetcher({ endpoint, policy }: Config): Fetcher {
  return async (params, options) => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/graphql-response+json, application/json;q=0.9',
        ...options?.headers,
      },
      body: JSON.stringify(params),
    });
    const text = await response.text();
    const result = parse(text);
    if (result === undefined) throw new Error(`${endpoint} answered ${response.status} without JSON: ${text}`);
    if (result.data?.__schema) describePolicy(result.data, policy);
    return result;
  };
}

function parse(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
