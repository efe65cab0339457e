import type { Fetcher, FetcherParams } from '@graphiql/toolkit';
import type { Config } from './config';
import type { Inspector } from './inspector';
import { describePolicy } from './policy';

/** Sends operations to the endpoint and tells the inspector; what introspection answers gets the cache policy added. */
export function createFetcher({ endpoint, policy }: Config, inspector: Inspector): Fetcher {
  return async (params, options) => {
    if (params.operationName === 'IntrospectionQuery') {
      const result = await send(endpoint, params, options?.headers);
      if (result.data?.__schema) describePolicy(result.data, policy);
      return result;
    }
    return inspector.execute(params, options?.headers);
  };
}

/** Sends one operation. Whatever is answered as JSON is returned; all else is an error. */
export async function send(endpoint: string, params: FetcherParams, headers?: Record<string, string>) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { ...contentHeaders, ...headers },
    body: JSON.stringify(params),
  });
  const text = await response.text();
  const result = parse(text);
  if (result === undefined) throw new Error(`${endpoint} answered ${response.status} without JSON: ${text}`);
  return result;
}

export const contentHeaders = {
  'Content-Type': 'application/json',
  Accept: 'application/graphql-response+json, application/json;q=0.9',
};

function parse(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
