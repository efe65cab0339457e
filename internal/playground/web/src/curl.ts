/** One POSIX shell command that repeats a request. A token never stands in it: the shell fills in `$TOKEN`. */
export function curl(url: string, headers: Record<string, string>, body: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `-H ${header(name, value)}`);
  return [`curl -sS ${quote(url)}`, ...lines, `--data-raw ${quote(body)}`].join(' \\\n  ');
}

function header(name: string, value: string): string {
  if (name.toLowerCase() !== 'authorization') return quote(`${name}: ${value}`);
  return `${quote(`${name}: ${/^bearer /i.test(value) ? 'Bearer ' : ''}`)}"$TOKEN"`;
}

// Nothing means anything between single quotes but the quote that ends them.
const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
