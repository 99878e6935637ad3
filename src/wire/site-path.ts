/**
 * What a request asks a site for: turns its target into a path inside the site (percent-decoding, dot segments,
 * repeated slashes) and its authority into a host, as nginx does. Text has one character per byte throughout (latin1),
 * because names on disk are bytes.
 */

export interface SitePath {
  /** Starts with `/`, and ends with `/` when it means a directory. Has no empty, `.` or `..` segments and no NUL. */
  readonly path: string
  /** Without `?`, as received. */
  readonly query: string | undefined
}

/** Undefined when it is not a target that a web server accepts (400). That includes any that climb above the root. */
export function parseSitePath(target: string): SitePath | undefined {
  if (!target.startsWith('/') || hasForbiddenCharacter(target)) return undefined
  const cut = target.search(/[?#]/)
  const raw = cut < 0 ? target : target.slice(0, cut)
  const query = cut >= 0 && target[cut] === '?' ? target.slice(cut + 1) : undefined
  // Decode before looking at the segments: `%2f` is a slash, and `%2e%2e` climbs.
  const decoded = decodePercent(raw)
  if (decoded === undefined || decoded.includes('\0')) return undefined

  const segments: string[] = []
  const parts = decoded.split('/').slice(1)
  for (const part of parts) {
    if (part === '' || part === '.') continue
    if (part !== '..') segments.push(part)
    else if (segments.pop() === undefined) return undefined
  }
  const last = parts.at(-1)
  const directory = last === '' || last === '.' || last === '..'
  return { path: `/${segments.join('/')}${directory && segments.length > 0 ? '/' : ''}`, query }
}

/** For a `location` field. */
export function encodeSitePath(path: string): string {
  return path.replace(
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u0020"#%<>?\\^`{|}\u007f-\u00ff]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}

function hasForbiddenCharacter(target: string): boolean {
  for (let index = 0; index < target.length; index++) {
    const code = target.charCodeAt(index)
    if (code <= 0x20 || code === 0x7f || code > 0xff) return true
  }
  return false
}

function decodePercent(text: string): string | undefined {
  if (!text.includes('%')) return text
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return undefined
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** The name in lower case without port and trailing dot; undefined when a web server would answer 400. */
export function parseSiteHost(authority: string): string | undefined {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f/]|\.\./.test(authority)) return undefined
  const bracketed = /^\[[^\]]*\]/.exec(authority)
  const name = bracketed ? bracketed[0] : authority.replace(/:.*$/, '')
  const host = name.toLowerCase().replace(/\.$/, '')
  return host === '' && authority !== '' ? undefined : host
}
