/** Refused is an answer after which the same request is not worth repeating. */
export class Refused extends Error {}

/**
 * Reads server-sent events as EventSource does, which can't send a token, until the stream ends; each event's data goes to
 * onData. Rejects when it can't be read, as Refused if the token is why.
 */
export async function follow(url: string, token: string, onData: (data: string) => void, signal: AbortSignal): Promise<void> {
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(url, { headers, signal, cache: 'no-store' });
  if (response.status === 401 || response.status === 403) throw new Refused(`the server answered ${response.status}`);
  if (!response.ok || !response.body) throw new Error(`the server answered ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).replaceAll('\r\n', '\n').split('\n\n');
    text = events.pop()!; // the last one is not yet complete
    for (const event of events) {
      const data = event.split('\n').filter((line) => line.startsWith('data:'));
      if (data.length > 0) onData(data.map((line) => line.slice('data:'.length).trimStart()).join('\n'));
    }
  }
}
