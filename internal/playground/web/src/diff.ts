/** A place where two JSON values differ; undefined stands for nothing there. */
export interface Difference {
  path: string;
  left: unknown;
  right: unknown;
}

/** Where two JSON values differ, down to single values. */
export function differences(left: unknown, right: unknown, path = ''): Difference[] {
  if (!isBranch(left) || !isBranch(right) || Array.isArray(left) !== Array.isArray(right)) {
    return Object.is(left, right) ? [] : [{ path, left, right }];
  }
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  const inner = (name: string) => (Array.isArray(left) ? `${path}[${name}]` : path ? `${path}.${name}` : name);
  return [...names].flatMap((name) => differences(left[name], right[name], inner(name)));
}

/** How many single values a JSON value has. */
export const size = (value: unknown): number =>
  isBranch(value) ? Object.values(value).reduce<number>((sum, inner) => sum + size(inner), 0) : 1;

const isBranch = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
