import type { ReactNode } from 'react';
import { bytes, count, milliseconds, percent, plural, seconds, short } from './format';
import { samplesOf, total, type Moment, type Sample } from './history';
import { KindTable } from './kinds';
import { Plots } from './plots';
import type { Build, Entry, Instance, Log, Redis, Snapshot } from './snapshot';
import { Meter, Table } from './table';

/** Everything that a snapshot tells. */
export function Figures({ snapshot, moments }: { snapshot: Snapshot; moments: Moment[] }) {
  const samples = samplesOf(moments);
  const { inconsistent, verified } = snapshot;
  return (
    <>
      {inconsistent > 0 && (
        <p className="alarm" role="alert">
          <strong>{plural(inconsistent, 'inconsistency', 'inconsistencies')}!</strong> Of {count(verified)} entries compared
          with PostgreSQL, these were not what it holds. The server’s log names them.
        </p>
      )}
      <Tiles {...{ snapshot, samples }} />
      <Section title="Hit rate by kind, last 10 minutes">
        <Plots samples={samples} now={snapshot.at} />
      </Section>
      <Section title="Kinds, since the start">
        <KindTable kinds={snapshot.kinds ?? []} />
      </Section>
      <div className="columns">
        <Section title="Hottest keys">
          <Entries label="Hottest keys" entries={snapshot.hottest} empty="Nothing has been read lately." />
        </Section>
        <Section title="Slowest loads">
          <Entries label="Slowest loads" entries={snapshot.slowest} empty="Nothing has been loaded lately." />
        </Section>
        <Section title="Largest entries">
          <Entries label="Largest entries" entries={snapshot.largest} empty="There is no entry in memory." />
        </Section>
        <Section title="Memory">
          <MemoryOf {...snapshot} />
        </Section>
        <Section title="Change log">
          <LogOf instance={snapshot.instance} log={snapshot.log} />
        </Section>
        <Section title="Builds and their operations">
          <Builds builds={snapshot.builds ?? []} />
        </Section>
      </div>
    </>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Tiles({ snapshot, samples }: { snapshot: Snapshot; samples: Sample[] }) {
  const { instance, redis, available, at, inconsistent, verified } = snapshot;
  const { hits, reads } = total(samples.filter((sample) => sample.at > at - 60_000));
  return (
    <dl className="tiles">
      <Tile name="Hit rate, last minute" value={percent(hits, reads)} note={plural(reads, 'read')} />
      <Tile name="Instance" value={instance.name || 'without a name'} note={`up ${seconds(instance.uptimeS)}`} />
      <Tile
        name="Serves from the cache"
        value={instance.granted ? 'Yes' : 'No'}
        note={instance.granted ? 'granted' : 'no grant: everything is read from PostgreSQL'}
        bad={!instance.granted}
      />
      <Tile name="Lag behind the log" value={plural(instance.lag, 'position')} note={`last heard ${milliseconds(instance.silenceMs)} ago`} />
      <Tile name="Redis" value={!available ? 'Out of use' : redis ? 'In use' : 'Away'} note={redis ? plural(redis.masters, 'master') : 'reads go to PostgreSQL'} bad={!available || !redis} />
      <Tile name="Inconsistencies" value={count(inconsistent)} note={`of ${short(verified)} verified`} bad={inconsistent > 0} />
    </dl>
  );
}

function Tile({ name, value, note, bad = false }: { name: string; value: string; note: string; bad?: boolean }) {
  return (
    <div className={bad ? 'bad' : undefined}>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong> <span>{note}</span>
      </dd>
    </div>
  );
}

function Entries({ label, entries, empty }: { label: string; entries: Entry[] | null; empty: string }) {
  return (
    <Table
      label={label}
      empty={empty}
      head={['Key', 'Size', 'Age', 'TTL', 'Load']}
      rows={(entries ?? []).map(({ key, bytes: size, age, ttl, loadMs }) => [
        <code key="key">{key}</code>,
        bytes(size),
        age === null ? '–' : seconds(age),
        ttl === null ? '–' : seconds(ttl),
        loadMs > 0 ? milliseconds(loadMs) : '–',
      ])}
    />
  );
}

function MemoryOf({ memory, redis, available }: Pick<Snapshot, 'memory' | 'redis' | 'available'>) {
  return (
    <>
      {(memory ?? []).map(({ tier, entries, bytes: used, limit }) => (
        <Meter key={tier} label={`This process, ${tier}`} value={used} max={limit} note={plural(entries, 'entry', 'entries')} />
      ))}
      {redis ? <RedisOf {...redis} /> : <p>Redis is away: nothing is known of its memory.</p>}
      {!available && <p className="bad">Redis is out of use after repeated faults.</p>}
    </>
  );
}

function RedisOf({ usedMemory, maxMemory, evictedKeys, hits, misses }: Redis) {
  return (
    <>
      <Meter label="Redis" value={usedMemory} max={maxMemory} note={maxMemory ? '' : 'without a limit'} />
      <p>
        {plural(evictedKeys, 'key')} evicted; hit rate in Redis {percent(hits, hits + misses)} of {short(hits + misses)} lookups.
      </p>
    </>
  );
}

function LogOf({ instance, log }: { instance: Instance; log: Log | null }) {
  if (!log) {
    return (
      <p>
        This instance has applied position {count(instance.position)} and is {plural(instance.lag, 'position')} behind. What
        the others have applied is known to the sequencer’s instance only{instance.sequencer && `: ${instance.sequencer}`}.
      </p>
    );
  }
  return (
    <>
      <p>
        Head {count(log.head)}, settled {count(log.settled)}; {plural(log.outboxRows, 'row')} in the outbox; oldest open
        transaction {milliseconds(log.oldestTransactionMs)}.
      </p>
      <Table
        label="Log lag by instance"
        empty="No other instance is registered."
        head={['Instance', 'Behind', 'For']}
        rows={(log.instances ?? []).map(({ name, positions, forMs }) => [name, plural(positions, 'position'), milliseconds(forMs)])}
      />
    </>
  );
}

function Builds({ builds }: { builds: Build[] }) {
  if (builds.length === 0) return <p>No build of an app has published its operations.</p>;
  return builds.map(({ app, build, state, operations }) => (
    <div key={`${app} ${build}`}>
      <h3>
        {app} {build} <span className="badge">{state}</span>
      </h3>
      <Table
        label={`Operations of ${app} ${build}`}
        empty="It has no operations."
        head={['Operation', 'Hit rate', 'Hits', 'Misses', 'Uncacheable', 'Max-age', 'Scope']}
        rows={(operations ?? []).map(({ id, name, hits, misses, uncacheable, maxAge, scope }) => [
          <span key="name" title={id}>
            {name || id}
          </span>,
          percent(hits, hits + misses),
          short(hits),
          short(misses),
          short(uncacheable),
          seconds(maxAge),
          scope,
        ])}
      />
    </div>
  ));
}
