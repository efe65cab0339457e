/** What the server tells the page, in the element `#config`. */
export interface Config {
  /** Path of the GraphQL endpoint, on this origin. */
  endpoint: string;
  title: string;
  /** Bearer token that every request begins with; empty outside development. */
  token: string;
  /** Cache policy in words by schema coordinate: `Post`, `Query.feed`. */
  policy: Record<string, string>;
  /** Operations to begin with, in the order of their tabs. */
  samples: Sample[];
}

export interface Sample {
  query: string;
  /** JSON, or empty. */
  variables: string;
}

export function readConfig(): Config {
  return JSON.parse(document.getElementById('config')!.textContent!);
}
