/**
 * Names of servers (RFC 1123, RFC 6066) and patterns for them: a name in lower case, or `*.` and a name, which stands
 * for one more label in front of it.
 */

const MAX_NAME_LENGTH = 253
const NAME = /^(?!.*\.\.)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/
const WILDCARD = '*.'

/** A DNS name of letters, digits, hyphens and underscores, in lower case; undefined when `text` is not one. */
export function parseHostName(text: string): string | undefined {
  const name = text.toLowerCase()
  return name.length <= MAX_NAME_LENGTH && NAME.test(name) ? name : undefined
}

/** The same, or a pattern. */
export function parseNamePattern(text: string): string | undefined {
  const wildcard = text.startsWith(WILDCARD)
  const name = parseHostName(wildcard ? text.slice(WILDCARD.length) : text)
  return name !== undefined && wildcard ? WILDCARD + name : name
}

/** What follows `*.`; undefined for an exact name. */
export function parentOf(pattern: string): string | undefined {
  return pattern.startsWith(WILDCARD) ? pattern.slice(WILDCARD.length) : undefined
}

/** `name` is as a client sends it; its case does not matter. */
export function matchesPattern(pattern: string, name: string): boolean {
  const given = normalizeServerName(name)
  const parent = parentOf(pattern)
  if (parent === undefined) return given === pattern
  const dot = given.indexOf('.')
  return dot > 0 && given.slice(dot + 1) === parent
}

/** An example of a name that `pattern` matches. */
export function exampleOf(pattern: string): string {
  const parent = parentOf(pattern)
  return parent === undefined ? pattern : `any.${parent}`
}

/** Lower case, without the root dot, which RFC 6066 forbids but some clients send. */
export function normalizeServerName(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}

/** The name that an authority begins with, as {@link normalizeServerName} writes it; an address stays as it is. */
export function serverNameIn(authority: string): string {
  return normalizeServerName(authority.replace(/:\d*$/, ''))
}
