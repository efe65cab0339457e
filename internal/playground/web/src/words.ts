import { count } from './format';
import type { Key } from './report';

const reasons: Record<string, string> = {
  absent: 'absent: not in the cache',
  expired: 'expired: its TTL was over',
  foreign: 'foreign: damaged, of another release, or another key’s',
  lease: 'lease: another was loading it',
  unavailable: 'unavailable: Redis was out of use',
  stale_tag: 'stale by tag: changed since',
  stale_floor: 'stale_floor: older than what this instance knows of the log',
  stale_epoch: 'stale_epoch: of another history of the database',
  stale_grant: 'stale_grant: this instance has lost contact with the log',
};

/** Why a cache did not answer, in words; reasons that are words already stay as they are. */
export function missed({ miss, first, staleBy }: Pick<Key, 'miss' | 'first' | 'staleBy'>): string {
  if (first) return `${reasons[miss!] ?? miss} (before: ${missed({ miss: first, staleBy })})`;
  if (staleBy) return `stale by tag ${staleBy.tag} at position ${count(staleBy.position)}`;
  return (miss && reasons[miss]) ?? miss ?? '';
}

const tiers: Record<string, string> = {
  memory: 'this process’s memory',
  redis: 'Redis',
  source: 'PostgreSQL',
  stale: 'the cache, stale: PostgreSQL failed',
};

export const tier = (name: string) => tiers[name] ?? name;

/** Paths that differ in places of lists only become one: `feed.nodes[*].author`. */
export function joined(keys: Key[]): string[] {
  return [...new Set(keys.flatMap((key) => key.paths ?? []).map((path) => path.replace(/\[\d+\]/g, '[*]')))];
}
