import type { Storage } from '@graphiql/toolkit';
import type { Sample } from './config';

const prefix = 'freshet:';

/**
 * The browser's storage under names of our own: another GraphiQL served from the same host and port at another time
 * would otherwise bring its tabs along.
 */
export function createStorage(samples: Sample[]): Storage {
  const own = () => Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  const storage: Storage = {
    getItem: (key) => localStorage.getItem(prefix + key),
    setItem: (key, value) => localStorage.setItem(prefix + key, value),
    removeItem: (key) => localStorage.removeItem(prefix + key),
    clear: () => own().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return own().length;
    },
  };
  showFirst(storage, samples[0]);
  return storage;
}

// On a first visit GraphiQL fills the editors from here and not from the first tab, whose variables it would lose.
function showFirst(storage: Storage, sample?: Sample) {
  if (!sample || storage.getItem('graphiql:tabState')) return;
  storage.setItem('graphiql:query', sample.query);
  storage.setItem('graphiql:variables', sample.variables);
}
