/** One POSIX shell command that repeats a request. The token never stands in it: the shell fills in `$TOKEN`. */
export function curl(url: string, headers: Record<string, string>, body: string): string {
  const secret = tokenOf(headers);
  // Nothing means anything between single quotes but the quote that ends them.
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const quoted = (text: string) => (secret ? text.split(secret) : [text]).map(quote).join('"$TOKEN"');
  const lines = Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`);
  return [`curl -sS ${quoted(url)}`, ...lines, `--data-raw ${quoted(body)}`].join(' \\\n  ');
}

// What is left of the header without the name of its scheme.
function tokenOf(headers: Record<string, string>): string {
  const [, value] = Object.entries(headers).find(([name]) => name.toLowerCase() === 'authorization') ?? [];
  return value?.replace(/^\s*[a-z]+\s+/i, '').trim() ?? '';
}
