import type { Kind, Reads, Snapshot } from './snapshot';

/** What the kinds had counted at a time. */
export interface Moment {
  at: number;
  kinds: Reads[];
}

/** What was read of a kind between the moment before and this one. */
export interface Sample extends Reads {
  at: number;
}

const kept = 10 * 60_000;

/** Adds a snapshot to the moments of the last ten minutes. The first one of a stream brings those before it along. */
export function extended(moments: Moment[], { at, kinds, history }: Snapshot): Moment[] {
  const before = history ? history.map(({ at, kinds }) => ({ at, kinds: kinds ?? [] })) : moments;
  const now = { at, kinds: (kinds ?? []).map(readsOf) };
  return [...before.filter((moment) => moment.at > at - kept && moment.at < at), now];
}

/** What was read between the moments. */
export function samplesOf(moments: Moment[]): Sample[] {
  return moments.flatMap(({ at, kinds }, i) => {
    const before = moments[i - 1];
    return before ? kinds.map((reads) => ({ at, ...difference(reads, before) })) : [];
  });
}

function difference(reads: Reads, { kinds }: Moment): Reads {
  const before = kinds.find(({ kind }) => kind === reads.kind);
  // Counters that went back began anew: with another process.
  if (!before || before.hits > reads.hits || before.misses > reads.misses) return reads;
  return { kind: reads.kind, hits: reads.hits - before.hits, misses: reads.misses - before.misses };
}

/** Hits are those of all tiers, misses those for any reason. */
export const readsOf = ({ kind, memory, redis, misses }: Kind): Reads => ({
  kind,
  hits: memory + redis,
  misses: Object.values(misses ?? {}).reduce((sum, n) => sum + n, 0),
});

/** The sum of samples, and of their reads. */
export function total(samples: Sample[]) {
  const hits = samples.reduce((sum, sample) => sum + sample.hits, 0);
  const misses = samples.reduce((sum, sample) => sum + sample.misses, 0);
  return { hits, misses, reads: hits + misses };
}
