import { useExecutionContext } from '@graphiql/react';
import { useState } from 'react';
import { count, plural } from './format';
import type { Comparison, Exchange, Inspector, Order } from './inspector';
import type { Report } from './report';

interface Props {
  inspector: Inspector;
  exchange: Exchange;
  report: Report;
  order(what: Order, done: string): Promise<void>;
  message: string;
}

/** What can be done about a result. */
export function Actions({ inspector, exchange, report, order, message }: Props) {
  const { run, isFetching } = useExecutionContext({ nonNull: true });
  const [shown, setShown] = useState<Shown>();
  const { key, type } = report.operation;
  const reads = type === 'query'; // to run anything else again would change something again
  // While it runs the buttons do nothing, and are not disabled: that would take the focus from them.
  const runWith = (headers: Record<string, string>) => isFetching || inspector.with(headers, run);

  async function compare() {
    setShown({ exchange, text: 'Comparing …' });
    setShown(await inspector.compare(exchange).then(
      (comparison) => ({ exchange, comparison }),
      (error: Error) => ({ exchange, text: `Not compared: ${error.message}` }),
    ));
  }

  async function copy() {
    const command = inspector.curl(exchange);
    const copied = await navigator.clipboard?.writeText(command).then(() => true, () => false);
    setShown({ exchange, command, text: copied ? 'Copied; set TOKEN before you run it.' : 'Copy it from here; set TOKEN before you run it.' });
  }

  return (
    <div className="freshet-actions">
      <h3>Actions</h3>
      <div className="freshet-buttons">
        <button type="button" disabled={!reads} aria-disabled={isFetching} onClick={() => runWith({ 'Freshet-Debug': 'cache, source' })}>
          Run without cache
        </button>
        <button type="button" disabled={!reads} aria-disabled={isFetching} onClick={() => runWith({ 'Cache-Control': 'no-cache' })}>
          Refresh
        </button>
        <button type="button" disabled={!key} onClick={() => order({ action: 'evict', key: key! }, 'Evicted this entry.')}>
          Evict this entry
        </button>
        <button type="button" disabled={!reads} onClick={compare}>
          Compare cached with fresh
        </button>
        <button type="button" onClick={copy}>
          Copy as curl
        </button>
      </div>
      <StaleByTag tags={tagsOf(report)} order={order} />
      <div role="status">
        {message && <p className="freshet-said">{message}</p>}
        {shown?.exchange === exchange && <Said {...shown} />}
      </div>
    </div>
  );
}

/** What an action found out about an exchange. */
interface Shown {
  exchange: Exchange;
  text?: string;
  command?: string;
  comparison?: Comparison;
}

function Said({ text, command, comparison }: Shown) {
  return (
    <>
      {text && <p className="freshet-said">{text}</p>}
      {command && <textarea readOnly rows={6} aria-label="The request as a curl command" value={command} />}
      {comparison && <Differences {...comparison} />}
    </>
  );
}

// A result that has just been made may not know its tags; its parts do.
function tagsOf({ operation, reads }: Report): string[] {
  const tags = operation.tags ?? reads?.flatMap((read) => read.keys.flatMap((key) => key.tags ?? [])) ?? [];
  return [...new Set(tags)].sort();
}

function StaleByTag({ tags, order }: { tags: string[] } & Pick<Props, 'order'>) {
  const [chosen, setChosen] = useState('');
  const tag = tags.includes(chosen) ? chosen : (tags[0] ?? '');
  return (
    <div className="freshet-buttons">
      <label>
        Tag{' '}
        <select value={tag} disabled={tags.length === 0} onChange={(event) => setChosen(event.target.value)}>
          {tags.length === 0 && <option value="">none</option>}
          {tags.map((tag) => (
            <option key={tag}>{tag}</option>
          ))}
        </select>
      </label>
      <button
        type="button"
        disabled={!tag}
        onClick={() => order({ action: 'stale', tag }, `All that carries ${tag} is stale now, on every instance.`)}
      >
        Make stale by tag
      </button>
    </div>
  );
}

const most = 200;

function Differences({ values, differences }: Comparison) {
  if (differences.length === 0) {
    return <p className="freshet-said">No difference: {plural(values, 'value')} compared.</p>;
  }
  return (
    <div className="freshet-differences">
      <p>
        {plural(differences.length, 'difference')} between the cached (−) and the fresh (+) answer. A change between the two
        requests shows here too: compare again to rule it out.
      </p>
      <ul>
        {differences.slice(0, most).map(({ path, left, right }) => (
          <li key={path}>
            <code>{path || 'the whole answer'}</code>
            <pre>
              <del>− {JSON.stringify(left) ?? 'nothing'}</del>
              {'\n'}
              <ins>+ {JSON.stringify(right) ?? 'nothing'}</ins>
            </pre>
          </li>
        ))}
      </ul>
      {differences.length > most && <p>{count(differences.length - most)} more are not shown.</p>}
    </div>
  );
}
