import type { Storage } from '@graphiql/toolkit';
import type { Sample } from './config';

const prefix = 'freshet:';

/**
 * The browser's storage, with two differences. The names are our own: another GraphiQL served from the same host and
 * port at another time would otherwise bring its tabs along. And the history is kept without its headers, for these
 * hold a token; entries come back with the headers given here.
 */
export function createStorage(samples: Sample[], headers?: string): Storage {
  const own = () => Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  const storage: Storage = {
    getItem: (key) => {
      const value = localStorage.getItem(prefix + key);
      return value && isHistory(key) ? withHeaders(value, headers) : value;
    },
    setItem: (key, value) => localStorage.setItem(prefix + key, isHistory(key) ? withHeaders(value) : value),
    removeItem: (key) => localStorage.removeItem(prefix + key),
    clear: () => own().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return own().length;
    },
  };
  showFirst(storage, samples[0]);
  return storage;
}

const isHistory = (key: string) => key === 'graphiql:queries' || key === 'graphiql:favorites';

function withHeaders(history: string, headers?: string) {
  const isEntry = (value: any) => typeof value?.query === 'string';
  return JSON.stringify(JSON.parse(history, (_, value) => (isEntry(value) ? { ...value, headers } : value)));
}

// On a first visit GraphiQL fills the editors from here and not from the first tab, whose variables it would lose.
function showFirst(storage: Storage, sample?: Sample) {
  if (!sample || storage.getItem('graphiql:tabState')) return;
  storage.setItem('graphiql:query', sample.query);
  storage.setItem('graphiql:variables', sample.variables);
}
