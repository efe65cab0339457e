/** What the server sends about every two seconds. Counters count since the instance began. */
export interface Snapshot {
  /** Unix time in milliseconds. */
  at: number;
  instance: Instance;
  /** Only the sequencer's instance knows. */
  log: Log | null;
  kinds: Kind[] | null;
  /** What had been counted in the last ten minutes, in the first snapshot of a stream. */
  history?: { at: number; kinds: Reads[] | null }[] | null;
  hottest: Entry[] | null;
  largest: Entry[] | null;
  slowest: Entry[] | null;
  memory: { tier: string; entries: number; bytes: number; limit: number }[] | null;
  /** None while Redis is away. */
  redis: Redis | null;
  /** Whether Redis is in use. */
  available: boolean;
  inconsistent: number;
  verified: number;
  builds: Build[] | null;
}

export interface Instance {
  name: string;
  granted: boolean;
  position: number;
  epoch: string;
  /** Positions that it has yet to apply. */
  lag: number;
  silenceMs: number;
  /** Name of the instance that is the sequencer, as far as this one knows. */
  sequencer: string;
  uptimeS: number;
}

export interface Log {
  head: number;
  settled: number;
  outboxRows: number;
  oldestTransactionMs: number;
  instances: { name: string; positions: number; forMs: number }[] | null;
}

export interface Reads {
  kind: string;
  hits: number;
  misses: number;
}

export interface Kind {
  kind: string;
  memory: number;
  redis: number;
  misses: Record<string, number> | null;
  loads: number;
  loadErrors: number;
  stale: number;
  early: number;
  loadSeconds: number;
  batches: number;
  batchSeconds: number;
}

export interface Entry {
  key: string;
  kind: string;
  bytes: number;
  age: number | null;
  ttl: number | null;
  loadMs: number;
}

export interface Redis {
  usedMemory: number;
  maxMemory: number;
  evictedKeys: number;
  hits: number;
  misses: number;
  masters: number;
}

export interface Build {
  app: string;
  build: string;
  state: string;
  operations: OperationOf[] | null;
}

export interface OperationOf {
  id: string;
  name: string;
  hits: number;
  misses: number;
  uncacheable: number;
  maxAge: number;
  scope: string;
}
