import type { IntrospectionQuery } from 'graphql';

/**
 * Adds each type's and field's cache policy to its description, for introspection leaves directives out. So the policy
 * shows wherever GraphiQL shows a description: documentation, completion and hover.
 */
export function describePolicy(introspection: IntrospectionQuery, policy: Record<string, string>): void {
  for (const type of introspection.__schema.types) {
    withPolicy(type, policy[type.name]);
    if (type.kind !== 'OBJECT' && type.kind !== 'INTERFACE') continue;
    for (const field of type.fields) {
      withPolicy(field, policy[`${type.name}.${field.name}`]);
    }
  }
}

// Lists of fields show only the first paragraph of a description, so the policy ends that one. style.css makes a badge
// of emphasised code, which nothing else uses.
function withPolicy(described: { description?: string | null }, policy?: string): void {
  if (!policy) return;
  const badge = `*\`Cache: ${policy.replaceAll('`', "'")}\`*`;
  const [first, ...rest] = (described.description ?? '').trim().split(/\n\s*\n/);
  Object.assign(described, { description: [first ? `${first}  \n${badge}` : badge, ...rest].join('\n\n') });
}
