import type { ReactNode } from 'react';
import { bytes, count, milliseconds, seconds } from './format';
import type { Limit, Operation, Policy } from './report';
import { missed, tier } from './words';

const words: Record<Operation['result'], string> = {
  hit: 'Hit',
  miss: 'Miss',
  uncacheable: 'Uncacheable',
  bypassed: 'Bypassed',
};

/** What became of the whole result. */
export function Outcome({ operation, tookMs }: { operation: Operation; tookMs: number }) {
  const { result, key, age, ttl, asOf, bytes: length } = operation;
  return (
    <div className="freshet-outcome">
      <p>
        <strong className={`freshet-badge freshet-${result}`}>{words[result]}</strong> {sentence(operation)}
      </p>
      <dl>
        {fact('Took', milliseconds(tookMs))}
        {age !== undefined && fact('Age', seconds(age))}
        {ttl !== undefined && fact('TTL left', seconds(ttl))}
        {asOf && fact('As of', `position ${count(asOf.at)}, epoch ${asOf.epoch}`)}
        {length ? fact('Size', bytes(length)) : null}
        {key && fact('Key', <code>{key}</code>)}
      </dl>
    </div>
  );
}

function sentence(o: Operation): string {
  if (o.result === 'hit') return `The whole result came from ${tier(o.tier ?? '')}; nothing else was read.`;
  if (o.result !== 'miss') return `Nothing was taken from the cache of results: ${o.reason}.`;
  const why = missed(o);
  if (o.first) return `Another request was making this result: this one waited for it and got the same (${why}).`;
  const [, unkept] = (o.reason ?? '').split('; not kept: ');
  return `No result was kept that could be used (${why || o.reason}). ${o.stored ? 'This one is kept now.' : `This one is not kept: ${unkept ?? 'unknown'}.`}`;
}

/** The effective policy, and what limited it. */
export function PolicyOf({ maxAge, scope, maxAgeLimitedBy, scopeLimitedBy }: Policy) {
  return (
    <div className="freshet-policy">
      <h3>Policy</h3>
      <dl>
        {fact('Max-age', <>{seconds(maxAge)}{limit(maxAgeLimitedBy)}</>)}
        {fact('Scope', <>{scope}{limit(scopeLimitedBy)}</>)}
      </dl>
    </div>
  );
}

function limit(by?: Limit) {
  if (!by) return null;
  return (
    <>
      , by <code>{by.path}</code>
      {by.rule && by.rule !== by.path && <> ({by.rule})</>}
    </>
  );
}

/** A row of a description list. */
export function fact(term: string, value: ReactNode) {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{value}</dd>
    </div>
  );
}
