/** The host that a request names, for redirects, with nginx's idea of a valid one. */

/** The name in lower case without port and trailing dot, or undefined when a web server answers 400. */
export function parseSiteHost(authority: string): string | undefined {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f/]|\.\./.test(authority)) return undefined
  const bracketed = /^\[[^\]]*\]/.exec(authority)
  const name = bracketed ? bracketed[0] : authority.replace(/:.*$/, '')
  const host = name.toLowerCase().replace(/\.$/, '')
  return host === '' && authority !== '' ? undefined : host
}
