// What a client really sends and gets.

/** A fetch that notes each exchange. take() gives those since the last take(), in the order of their requests. */
export function record() {
  let exchanges = [];
  return {
    async fetch(input, init) {
      const request = new Request(input, init);
      const exchange = { method: request.method, sent: await parse(request) };
      exchanges.push(exchange);
      const response = await fetch(request);
      exchange.status = response.status;
      exchange.headers = response.headers;
      exchange.answer = await response.clone().json();
      return response;
    },
    take() {
      const taken = exchanges;
      exchanges = [];
      return taken;
    },
  };
}

async function parse(request) {
  if (request.method === 'POST') return request.clone().json();
  const sent = Object.fromEntries(new URL(request.url).searchParams);
  for (const name of ['variables', 'extensions']) {
    if (sent[name]) sent[name] = JSON.parse(sent[name]);
  }
  return sent;
}
