import { GraphiQL } from 'graphiql';
import 'graphiql/style.css';
import { createRoot } from 'react-dom/client';
import { readConfig, type Config } from './config';
import { adaptEditors } from './editors';
import { createFetcher } from './fetcher';
import { Inspector } from './inspector';
import { createPanel } from './panel';
import { createStorage } from './storage';
import './style.css';
import './panel.css';

const config = readConfig();
const headers = config.token ? JSON.stringify({ Authorization: `Bearer ${config.token}` }, null, 2) : undefined;
const inspector = new Inspector(config.endpoint, config.cache);
const { plugin, Follow } = createPanel(inspector, config.cache);
const options = {
  fetcher: createFetcher(config, inspector),
  plugins: [plugin],
  storage: createStorage(config.samples, headers),
  defaultTabs: config.samples.map((sample) => ({ ...sample, headers })),
  defaultHeaders: headers,
  // A token stays in memory: the next start of the server may have another, and a disk is no place for it.
  shouldPersistHeaders: false,
  schemaDescription: true,
};

function Playground({ title }: Config) {
  return (
    <GraphiQL {...options} defaultEditorToolsVisibility>
      <GraphiQL.Logo>
        <h1 className="freshet-title">{title}</h1>
        <Follow />
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

adaptEditors();
createRoot(document.getElementById('root')!).render(<Playground {...config} />);
