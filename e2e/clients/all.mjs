// Runs the tests of all scripts in this process. Each script says its name, so that it shows which ones ran.
import { readdirSync } from 'node:fs';

for (const name of readdirSync(new URL('.', import.meta.url))) {
  if (!name.endsWith('.test.mjs')) continue;
  await import('./' + name);
  console.log('# ' + name);
}
