// Apollo Client as an app sets it up.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client/core';
import { bearer, documents, endpoint } from './site.mjs';

/** links stand before the one that speaks HTTP. */
export function connect({ token, links = [], ...http }) {
  const last = new HttpLink({ uri: endpoint, headers: bearer(token), ...http });
  return new ApolloClient({ link: ApolloLink.from([...links, last]), cache: new InMemoryCache() });
}

/** For everyday(). */
export function runner(client, shipped = documents) {
  return async (name, variables) => {
    const document = gql(shipped[name]);
    const { data } = await (name === 'SetBio'
      ? client.mutate({ mutation: document, variables })
      : client.query({ query: document, variables, fetchPolicy: 'network-only' }));
    return data;
  };
}
