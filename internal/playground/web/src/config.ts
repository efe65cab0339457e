/** What the server tells the page, in the element `#config`. */
export interface Config {
  /** Path of the GraphQL endpoint, on this origin. */
  endpoint: string;
  title: string;
  /** Bearer token that every request begins with; empty outside development. */
  token: string;
  /** Cache policy in words by schema coordinate: `Post`, `Query.feed`. */
  policy: Record<string, string>;
  /** Path of the overview of the caches, which also takes orders. */
  cache: string;
  /** Operations to begin with, in the order of their tabs. */
  samples: Sample[];
}

export interface Sample {
  query: string;
  /** JSON, or empty. */
  variables: string;
}

/** What the server tells the overview. */
export interface OverviewConfig {
  title: string;
  /** Bearer token to begin with; empty outside development. */
  adminToken: string;
  /** Path of the stream of figures. */
  events: string;
  /** Path of the playground. */
  playground: string;
}

export function readConfig<C = Config>(): C {
  return JSON.parse(document.getElementById('config')!.textContent!);
}
