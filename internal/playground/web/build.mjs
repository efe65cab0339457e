// Builds ../dist. The same sources give the same bytes on every machine: nothing here depends on time, paths or order
// of a directory.
import { build } from 'esbuild';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = join(here, '..', 'dist');

// The fonts in GraphiQL's style sheet are data: addresses, which font-src 'self' refuses, and most of its size.
// src/style.css names system fonts instead.
const withoutFonts = {
  name: 'without-fonts',
  setup(plugin) {
    plugin.onLoad({ filter: /graphiql[\\/]dist[\\/]style\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

rmSync(dist, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ['src/main.tsx', 'src/overview.tsx', 'src/icon.svg'],
  outdir: '../dist/assets',
  entryNames: '[name]-[hash]',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  jsx: 'automatic',
  legalComments: 'none', // licenses.txt has every notice in full
  banner: { js: '/*! Licences: ../licenses.txt */', css: '/*! Licences: ../licenses.txt */' },
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'copy' },
  alias: { 'react-style-singleton': './src/style-singleton.ts' },
  plugins: [withoutFonts],
  metafile: true,
});

const assets = Object.keys(metafile.outputs).map((path) => basename(path));
mkdirSync(dist, { recursive: true });
for (const name of ['index.html', 'cache.html']) {
  const page = readFileSync(join(here, name), 'utf8').replace(/%(\w+)\.(\w+)%/g, (_, asset, extension) =>
    assets.find((path) => path.startsWith(`${asset}-`) && path.endsWith(`.${extension}`)),
  );
  writeFileSync(join(dist, name), page);
}
writeFileSync(join(dist, 'licenses.txt'), notices(Object.keys(metafile.inputs)));

// The licence of each package of which a file went into the bundle.
function notices(inputs) {
  const folders = inputs.map((path) => path.match(/.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean);
  return [...new Set(folders)].sort().map(notice).join(`\n${'-'.repeat(80)}\n\n`);
}

function notice(folder) {
  const root = join(here, folder);
  const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const files = readdirSync(root).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  const texts = files.map((file) => readFileSync(join(root, file), 'utf8').replace(/\r\n/g, '\n').trim());
  return [`${name} ${version} (${license})`, ...texts].join('\n\n') + '\n';
}
