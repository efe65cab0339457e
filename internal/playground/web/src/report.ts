/** What a response says of itself in `extensions.freshet`: internal/inspect/report.go. Times are in milliseconds since the
 * request began, ages and lives in seconds. */
export interface Report {
  operation: Operation;
  policy: Policy;
  reads: Read[] | null;
  sql?: Statement[];
  tookMs: number;
}

/** What became of the whole result; the key's part is there if the cache of results was asked. */
export interface Operation extends Partial<Key> {
  name?: string;
  type: string;
  hash: string;
  result: 'hit' | 'miss' | 'uncacheable' | 'bypassed';
  reason?: string;
  stored?: boolean;
}

export interface Policy {
  maxAge: number;
  scope: string;
  maxAgeLimitedBy?: Limit;
  scopeLimitedBy?: Limit;
}

/** A field, and the coordinate of the schema whose directive limited it. */
export interface Limit {
  path: string;
  rule: string;
}

/** A batch of keys that a kind was asked for. */
export interface Read {
  kind: string;
  startMs: number;
  tookMs: number;
  loadMs?: number;
  /** For the loads of others. */
  waitMs?: number;
  roundTrips: number;
  error?: string;
  keys: Key[];
  sql?: Statement[];
}

export interface Key {
  paths?: string[];
  key: string;
  /** memory, redis, source or stale; none if nothing answered. */
  tier?: string;
  miss?: string;
  /** What was the matter before a wait for another's load, whose miss is `lease`. */
  first?: string;
  staleBy?: { tag: string; position: number };
  absent?: boolean;
  asOf?: { epoch: string; at: number };
  age?: number;
  ttl?: number;
  tags?: string[];
  bytes?: number;
}

export interface Statement {
  statement: string;
  startMs: number;
  tookMs: number;
}
