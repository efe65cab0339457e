import { bytes, count, milliseconds, plural, seconds } from './format';
import { fact } from './outcome';
import type { Key, Read, Report, Statement } from './report';
import { joined, missed, tier } from './words';

interface Props {
  report: Report;
  evict(key: string): void;
}

/** What was read for a result, in the order in which it began, on the time of the request. */
export function Waterfall({ report: { reads, sql, tookMs }, evict }: Props) {
  return (
    <div className="freshet-waterfall">
      <h3>Reads</h3>
      {!reads?.length && <p>Nothing was read from the caches of single values.</p>}
      {reads?.length ? (
        <>
          <p className="freshet-axis" aria-hidden="true">
            <span>0</span>
            <span>{milliseconds(tookMs)}</span>
          </p>
          <ol>
            {reads.map((read, index) => (
              <li key={index}>
                <ReadOf read={read} total={tookMs} evict={evict} />
              </li>
            ))}
          </ol>
        </>
      ) : null}
      {sql?.length ? (
        <>
          <h3>Statements outside the caches</h3>
          <Statements statements={sql} total={tookMs} />
        </>
      ) : null}
    </div>
  );
}

function ReadOf({ read, total, evict }: { read: Read; total: number; evict: Props['evict'] }) {
  const { kind, startMs, tookMs, loadMs, waitMs, roundTrips, keys, sql, error } = read;
  const paths = joined(keys);
  return (
    <>
      <details>
        <summary>
          <span className="freshet-read">
            <strong>{kind}</strong> {plural(keys.length, 'key')}
            <span className="freshet-time">
              took {milliseconds(tookMs)} at {milliseconds(startMs)}
            </span>
          </span>
          {paths.slice(0, 3).map((path) => (
            <code key={path}>{path}</code>
          ))}
          {paths.length > 3 && <span>and {count(paths.length - 3)} more paths</span>}
          <Bar {...{ startMs, tookMs, total }} className={worst(keys).className} />
          <Tally keys={keys} />
        </summary>
        <p>
          {plural(roundTrips, 'round trip')} to Redis{loadMs ? `; loading took ${milliseconds(loadMs)}` : ''}
          {waitMs ? `; waited ${milliseconds(waitMs)} for loads of others` : ''}
        </p>
        <ul className="freshet-keys">
          {keys.map((key) => (
            <li key={key.key}>
              <KeyOf found={key} evict={evict} />
            </li>
          ))}
        </ul>
      </details>
      {error && <p className="freshet-error">Error: {error}</p>}
      {sql?.length ? <Statements statements={sql} total={total} /> : null}
    </>
  );
}

// What a key's read came to, worst first; each has a mark of its own beside its colour.
const outcomes = [
  { mark: '✗', className: 'freshet-missed' },
  { mark: '·', className: 'freshet-sql' }, // no cache was asked
  { mark: '✓', className: 'freshet-found' },
] as const;

const outcomeOf = ({ miss, tier }: Key) => outcomes[miss ? 0 : tier === 'memory' || tier === 'redis' ? 2 : 1];

const worst = (keys: Key[]) => outcomes[Math.min(2, ...keys.map((key) => outcomes.indexOf(outcomeOf(key)))) as 0 | 1 | 2];

// How many keys each tier answered, and why not the caches.
function Tally({ keys }: { keys: Key[] }) {
  const tally = new Map<string, number>();
  const add = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  for (const key of keys) add(`${outcomeOf(key).mark} ${key.miss ? missed(key) : key.tier || 'not answered'}`);
  return (
    <span className="freshet-tally">
      {[...tally].slice(0, 6).map(([what, times]) => (
        <span key={what} className={outcomes.find(({ mark }) => what.startsWith(mark))!.className}>
          {what}
          {times > 1 && ` × ${count(times)}`}
        </span>
      ))}
      {tally.size > 6 && <span>and {plural(tally.size - 6, 'other reason')}</span>}
    </span>
  );
}

function KeyOf({ found: key, evict }: { found: Key; evict: Props['evict'] }) {
  return (
    <details>
      <summary>
        <code>{key.key}</code> <span>{key.miss ? missed(key) : key.tier}</span>
      </summary>
      <dl>
        {key.tier && fact('Answered by', tier(key.tier))}
        {key.absent && fact('Value', 'none: the source has no such key')}
        {key.age !== undefined && fact('Age', seconds(key.age))}
        {key.ttl !== undefined && fact('TTL left', seconds(key.ttl))}
        {key.asOf && fact('As of', `position ${count(key.asOf.at)}`)}
        {key.bytes ? fact('Size', bytes(key.bytes)) : null}
        {key.tags?.length ? fact('Tags', key.tags.join(' ')) : null}
        {key.paths?.length ? fact('Asked by', key.paths.slice(0, 20).join(' ')) : null}
      </dl>
      <button type="button" onClick={() => evict(key.key)}>
        Evict {key.key}
      </button>
    </details>
  );
}

function Statements({ statements, total }: { statements: Statement[]; total: number }) {
  return (
    <ol className="freshet-statements">
      {statements.map(({ statement, startMs, tookMs }, index) => (
        <li key={index}>
          <details>
            <summary>
              <span className="freshet-read">
                SQL
                <span className="freshet-time">
                  took {milliseconds(tookMs)} at {milliseconds(startMs)}
                </span>
              </span>
              <Bar {...{ startMs, tookMs, total }} className="freshet-sql" />
              <code>{statement}</code>
            </summary>
          </details>
        </li>
      ))}
    </ol>
  );
}

function Bar({ startMs, tookMs, total, className }: { startMs: number; tookMs: number; total: number; className: string }) {
  const share = (ms: number) => `${Math.min(100, Math.max(0, (ms / (total || 1)) * 100))}%`;
  return (
    <svg className={`freshet-bar ${className}`} aria-hidden="true">
      <rect x={share(startMs)} width={share(tookMs)} height="100%" />
    </svg>
  );
}
