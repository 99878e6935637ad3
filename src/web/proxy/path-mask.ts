/**
 * The paths of the main hosts that belong to the origin behind the reverse proxy. The mask is a plain text prefix, as
 * in the reference endpoint (`/app` covers `/apple`), but it is applied to what the path means: the origin gets the
 * path as the client wrote it, and no interpretation that is common among servers may lead out of the mask.
 */
import { encodeSitePath, parseSitePath } from '../nginx/site-path.ts'

export class PathMask {
  readonly #prefix: string

  constructor(mask: string) {
    const bytes = Buffer.from(mask, 'utf8').toString('latin1')
    this.#prefix = parseSitePath(bytes)?.path ?? bytes
  }

  /** `target` is in origin-form. */
  covers(target: string): boolean {
    const path = parseSitePath(target)?.path
    if (path?.startsWith(this.#prefix) !== true) return false
    const other = readLaxly(path)
    return other === path || parseSitePath(encodeSitePath(other))?.path.startsWith(this.#prefix) === true
  }
}

/** Some servers decode twice, treat backslashes as slashes, or allow parameters in segments (RFC 3986 section 3.3). */
function readLaxly(path: string): string {
  return decodeAgain(path)
    .replaceAll('\\', '/')
    .replaceAll(/;[^/]*/g, '')
}

function decodeAgain(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}
