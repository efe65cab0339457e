const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const precise = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (n: number) => number.format(n);

/** Short, for large numbers in little space: 1.2M. */
export const short = (n: number) => (n < 10_000 ? number.format(n) : compact.format(n));

export const plural = (n: number, one: string, many = `${one}s`) => `${short(n)} ${n === 1 ? one : many}`;

export function milliseconds(ms: number): string {
  if (ms > 0 && ms < 1) return `${Math.round(ms * 1000)} µs`;
  return ms < 1000 ? `${precise.format(ms)} ms` : seconds(ms / 1000);
}

export function seconds(s: number): string {
  if (Math.abs(s) < 120) return `${number.format(s)} s`;
  if (Math.abs(s) < 7200) return `${number.format(s / 60)} min`;
  return Math.abs(s) < 172_800 ? `${number.format(s / 3600)} h` : `${number.format(s / 86_400)} days`;
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${number.format(n)} ${units[unit]}`;
}

/** Of a part of a whole, which may be nothing yet. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return '–';
  const share = (part / whole) * 100;
  return `${share > 99.9 && part < whole ? '99.9' : number.format(share)} %`;
}
