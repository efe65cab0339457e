import { milliseconds, percent, short } from './format';
import { readsOf } from './history';
import type { Kind } from './snapshot';
import { Table } from './table';

/** What each kind of entry did since the instance began. */
export function KindTable({ kinds }: { kinds: Kind[] }) {
  return (
    <Table
      label="Kinds"
      empty="Nothing has been read yet."
      head={['Kind', 'Hit rate', 'In memory', 'In Redis', 'Misses', 'Why', 'Loads', 'Mean load', 'Mean batch', 'Failed loads', 'Early refreshes', 'Served stale']}
      rows={kinds.map((kind) => {
        const { hits, misses } = readsOf(kind);
        return [
          kind.kind,
          percent(hits, hits + misses),
          short(kind.memory),
          short(kind.redis),
          short(misses),
          reasons(kind.misses ?? {}),
          short(kind.loads),
          mean(kind.loadSeconds, kind.loads),
          mean(kind.batchSeconds, kind.batches),
          short(kind.loadErrors),
          short(kind.early),
          short(kind.stale),
        ];
      })}
    />
  );
}

const reasons = (misses: Record<string, number>) =>
  Object.entries(misses)
    .filter(([, n]) => n > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, n]) => `${reason} ${short(n)}`)
    .join(', ') || '–';

const mean = (seconds: number, times: number) => (times > 0 ? milliseconds((seconds / times) * 1000) : '–');
