import { useEditorContext, type GraphiQLPlugin } from '@graphiql/react';
import { formatResult } from '@graphiql/toolkit';
import { useLayoutEffect, useState, useSyncExternalStore } from 'react';
import { Actions } from './actions';
import type { Exchange, Inspector, Order } from './inspector';
import { Outcome, PolicyOf } from './outcome';
import { Waterfall } from './waterfall';

/** The panel of GraphiQL that shows what the caches did, and a component that tells the inspector of the tabs. */
export function createPanel(inspector: Inspector, overview: string): { plugin: GraphiQLPlugin; Follow: () => null } {
  const content = () => <Panel inspector={inspector} overview={overview} />;
  return { plugin: { title: 'Cache Inspector', icon: Icon, content }, Follow: () => useFollow(inspector) };
}

function useFollow(inspector: Inspector): null {
  const { tabs, activeTabIndex } = useEditorContext({ nonNull: true });
  const ids = tabs.map((tab) => tab.id).join(' ');
  const current = tabs[activeTabIndex]?.id ?? '';
  useLayoutEffect(() => inspector.show(current, ids.split(' ')), [current, ids]);
  return null;
}

function Panel({ inspector, overview }: { inspector: Inspector; overview: string }) {
  const exchange = useSyncExternalStore(inspector.subscribe, inspector.current);
  const [message, setMessage] = useState('');
  const report = exchange?.report;

  async function order(what: Order, done: string) {
    setMessage('…');
    setMessage(await inspector.order(what, exchange!).then(
      () => `${done} Run the operation again to see it.`,
      (error: Error) => `Not done: ${error.message}.`,
    ));
  }

  return (
    <section className="freshet-cache" aria-labelledby="freshet-cache-title">
      <header>
        <h2 id="freshet-cache-title">Cache Inspector</h2>
        <a href={overview} target="_blank" rel="noreferrer">
          Live overview
        </a>
      </header>
      <div role="status">
        {!exchange && <p>Run the operation, and what the caches did for it shows here.</p>}
        {exchange && !report && <Unknown />}
        {report && <Outcome operation={report.operation} tookMs={report.tookMs} />}
      </div>
      {exchange && report && (
        <>
          <PolicyOf {...report.policy} />
          <Actions {...{ inspector, exchange, report, order, message }} />
          <Waterfall report={report} evict={(key) => order({ action: 'evict', key }, `Evicted ${key}.`)} />
          <Verbose {...{ inspector, exchange }} />
        </>
      )}
    </section>
  );
}

function Unknown() {
  return (
    <p className="freshet-hint">
      The server says nothing about this answer. That needs a session with the <code>developer</code> scope: put its token
      into the headers, then run again.
    </p>
  );
}

function Verbose({ inspector, exchange }: { inspector: Inspector; exchange: Exchange }) {
  const { responseEditor, updateActiveTabValues } = useEditorContext({ nonNull: true });
  const verbose = useSyncExternalStore(inspector.subscribe, inspector.verbose);
  function change(to: boolean) {
    inspector.setVerbose(to);
    const response = formatResult(inspector.shown(exchange));
    responseEditor?.setValue(response);
    updateActiveTabValues({ response });
  }
  return (
    <label className="freshet-toggle">
      <input type="checkbox" checked={verbose} onChange={(event) => change(event.target.checked)} />
      Show <code>extensions.freshet</code> in the response
    </label>
  );
}

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
      <ellipse cx="12" cy="6" rx="8" ry="3" />
      <path d="M4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6" />
      <path d="m13 10-3 4h4l-3 4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
