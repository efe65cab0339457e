import { useEffect, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { readConfig, type OverviewConfig } from './config';
import { Figures } from './figures';
import { extended, type Moment } from './history';
import './overview.css';
import type { Snapshot } from './snapshot';
import { follow, Refused } from './stream';

const config = readConfig<OverviewConfig>();
const stored = 'freshet:overview:token'; // for this tab, until it closes

interface Seen {
  snapshot?: Snapshot;
  moments: Moment[];
}

function Overview({ title, adminToken, events, playground }: OverviewConfig) {
  const [token, setToken] = useState(() => sessionStorage.getItem(stored) ?? adminToken);
  const [paused, setPaused] = useState(false);
  const [state, setState] = useState('Connecting …');
  const [refused, setRefused] = useState(false);
  const [{ snapshot, moments }, setSeen] = useState<Seen>({ moments: [] });
  const main = useRef<HTMLElement>(null);

  useEffect(() => {
    if (paused || refused) return;
    const stop = new AbortController();
    const seen = (data: string) => {
      const next: Snapshot = JSON.parse(data);
      setState('Live');
      setSeen(({ moments }) => ({ snapshot: next, moments: extended(moments, next) }));
    };
    void keepFollowing(() => follow(events, token, seen, stop.signal), setState, stop.signal).then(() => setRefused(true), () => {});
    return () => stop.abort();
  }, [token, paused, refused]);

  function use(entered: string) {
    sessionStorage.setItem(stored, entered);
    setToken(entered);
    setRefused(false);
    setState('Connecting …');
    main.current?.focus(); // what had the focus is gone
  }

  function forget() {
    sessionStorage.removeItem(stored);
    setToken('');
    setRefused(true);
    setSeen({ moments: [] });
  }

  return (
    <>
      <header className="top">
        <h1>{title}: caches</h1>
        <a href={playground}>Playground</a>
        <span className="state" role="status">
          {refused ? 'Not connected' : paused ? 'Paused' : state}
        </span>
        {!refused && (
          <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
            Pause
          </button>
        )}
        {!refused && token && (
          <button type="button" onClick={forget}>
            Forget the token
          </button>
        )}
      </header>
      <main ref={main} tabIndex={-1}>
        {refused && <TokenForm tried={token !== ''} use={use} />}
        {!refused && !snapshot && <p>Nothing has been received yet.</p>}
        {!refused && snapshot && <Figures snapshot={snapshot} moments={moments} />}
      </main>
    </>
  );
}

/** Follows again and again, after ever longer pauses while nothing comes. Returns when it was refused. */
async function keepFollowing(once: () => Promise<void>, say: (state: string) => void, signal: AbortSignal): Promise<void> {
  const longest = 30;
  for (let pause = 1; ; pause = Math.min(pause * 2, longest)) {
    const began = Date.now();
    try {
      await once();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Refused) return;
    }
    signal.throwIfAborted();
    if (Date.now() - began > longest * 1000) pause = 1;
    say(`Disconnected; trying again in ${pause} s`);
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    signal.throwIfAborted();
  }
}

function TokenForm({ tried, use }: { tried: boolean; use(token: string): void }) {
  const [entered, setEntered] = useState('');
  return (
    <form
      className="token"
      onSubmit={(event) => {
        event.preventDefault();
        if (entered.trim()) use(entered.trim());
      }}
    >
      <p role="alert">
        {tried ? 'The server refused the token.' : 'The server asks who you are.'} This page is for sessions with the{' '}
        <code>admin</code> scope.
      </p>
      <label htmlFor="token">Token</label>
      <input id="token" type="password" autoFocus autoComplete="off" spellCheck={false} value={entered} onChange={(event) => setEntered(event.target.value)} />
      <button type="submit">Connect</button>
      <p>It is kept in this tab only, until the tab is closed.</p>
    </form>
  );
}

// The playground's choice of theme holds here too.
const theme = localStorage.getItem('freshet:graphiql:theme');
if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;

createRoot(document.getElementById('root')!).render(<Overview {...config} />);
