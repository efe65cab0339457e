import type { FetcherParams } from '@graphiql/toolkit';
import { curl } from './curl';
import { differences, size, type Difference } from './diff';
import { contentHeaders, send } from './fetcher';
import type { Report } from './report';

type Headers = Record<string, string>;

/** An operation as it was sent, and what came back. */
export interface Exchange {
  params: FetcherParams;
  /** Those of the editor. */
  headers: Headers;
  response: any;
  /** None without the developers' scope. */
  report?: Report;
}

/** An order that the server's caches take. */
export type Order = { action: 'evict'; key: string } | { action: 'stale'; tag: string };

export interface Comparison {
  values: number;
  differences: Difference[];
}

const ask: Headers = { 'Freshet-Debug': 'cache' };

/** Keeps the last exchange of each tab. One is made for the page; components follow it by subscribe. */
export class Inspector {
  readonly #endpoint: string;
  readonly #orders: string;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #listeners = new Set<() => void>();
  #tab = '';
  #extra: Headers = {};
  #verbose = false;

  constructor(endpoint: string, orders: string) {
    this.#endpoint = endpoint;
    this.#orders = orders;
  }

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** The last exchange of the tab in front. */
  current = () => this.#exchanges.get(this.#tab);

  /** Whether answers are shown with what they say of themselves. */
  verbose = () => this.#verbose;

  setVerbose(verbose: boolean): void {
    this.#verbose = verbose;
    this.#changed();
  }

  /** Follows the tabs: open are all that there are. */
  show(tab: string, open: string[]): void {
    this.#tab = tab;
    for (const other of this.#exchanges.keys()) if (!open.includes(other)) this.#exchanges.delete(other);
    this.#changed();
  }

  /** Adds headers to what run sends before it first waits. */
  with(headers: Headers, run: () => void): void {
    this.#extra = headers;
    try {
      run();
    } finally {
      this.#extra = {};
    }
  }

  /** Sends an operation of the tab in front and returns what its answer's pane shows. */
  async execute(params: FetcherParams, headers: Headers = {}): Promise<any> {
    const tab = this.#tab;
    const response = await send(this.#endpoint, params, { ...ask, ...this.#extra, ...headers });
    const exchange = { params, headers, response, report: response.extensions?.freshet };
    this.#exchanges.set(tab, exchange);
    this.#changed();
    return this.shown(exchange);
  }

  shown({ response, report }: Exchange): any {
    if (this.#verbose || !report) return response;
    const { freshet: _, ...others } = response.extensions;
    const { extensions: __, ...rest } = response;
    return Object.keys(others).length > 0 ? { ...rest, extensions: others } : rest;
  }

  /** Runs an operation as anybody would and from PostgreSQL alone, and tells where the answers differ. */
  async compare({ params, headers }: Exchange): Promise<Comparison> {
    const cached = essence(await send(this.#endpoint, params, headers));
    const fresh = essence(await send(this.#endpoint, params, { ...headers, 'Freshet-Debug': 'source' }));
    return { values: size(fresh), differences: differences(cached, fresh) };
  }

  /** Gives an order in the name of who sent the exchange; rejects with what the server says against it. */
  async order(order: Order, { headers }: Exchange): Promise<void> {
    const response = await fetch(this.#orders, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...authorization(headers) },
      body: JSON.stringify(order),
    });
    const answer = await response.json().catch(() => undefined);
    if (!answer?.ok) throw new Error(answer?.errors?.[0]?.message ?? `the server answered ${response.status}`);
  }

  curl({ params, headers }: Exchange): string {
    const url = new URL(this.#endpoint, location.href).href;
    return curl(url, { ...contentHeaders, ...ask, ...headers }, JSON.stringify(params));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

const essence = ({ data, errors }: any) => ({ data, errors });

const authorization = (headers: Headers) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() === 'authorization'));
