/**
 * A static site for anyone who is not a client, answered as nginx would from a directory of files: the same statuses,
 * fields, field order, pages and conditions (compared in `test/interop`).
 */
import type { Writable } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { Exchange, PlainExchange, ResponseHeaders } from '../../contract/exchange.ts'
import { ContentBudget } from './content-budget.ts'
import type { ContentPlace } from './content-budget.ts'
import { parseRange } from './byte-range.ts'
import type { ByteRange } from './byte-range.ts'
import { contentTypeOf } from './content-types.ts'
import { checkPreconditions, makeValidators, rangeApplies } from './preconditions.ts'
import { ContentWriter, discardContent } from '../content.ts'
import type { SiteFile, SiteFiles } from './site-files.ts'
import { encodeSitePath, parseSiteHost, parseSitePath } from '../../wire/site-path.ts'
import type { SitePath } from '../../wire/site-path.ts'
import type { IdleMonitor } from '../../relay/idle-monitor.ts'
import type { WebPages } from './web-pages.ts'

/** nginx's `client_max_body_size`. */
const MAX_REQUEST_CONTENT_BYTES = 1_048_576
const CHUNK_BYTES = 65_536
/** Size of the first read, before it is known whether the client takes anything; nginx's `http2_chunk_size`. */
const FIRST_CHUNK_BYTES = 8192

interface DecoySiteOptions {
  /** The file that is served for a directory. */
  index: string
  /** Port in redirects; without it they name none (443). */
  redirectPort?: number
  /** How long a client may read nothing before it is abandoned; nginx's `send_timeout` is 60 s. */
  sendTimeoutMs: number
  /** In memory, of answers that their clients have not taken. */
  maxContentBytes: number
}

interface DecoySiteDependencies {
  clock: Clock
  counters: Counters
  pages: WebPages
  idleMonitor: IdleMonitor
  files: SiteFiles
}

/** What anyone gets who is not a client. */
export interface Decoy {
  handle(exchange: Exchange): void
}

export class DecoySite implements Decoy {
  readonly #options: DecoySiteOptions
  readonly #deps: DecoySiteDependencies
  readonly #budget: ContentBudget
  /** nginx numbers its multipart boundaries; ours start at some number, as its own would be after some hours. */
  #boundary = 0

  constructor(options: DecoySiteOptions, deps: DecoySiteDependencies) {
    this.#options = options
    this.#deps = deps
    this.#budget = new ContentBudget(deps.counters, options.maxContentBytes)
    this.#boundary = Math.floor(deps.clock.wall() / 1000) % 1_000_000
  }

  handle(exchange: Exchange): void {
    this.#handle(exchange).catch(() => {
      this.#deps.counters.count('decoy_failures')
      exchange.reset('internal_error')
    })
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { method } = exchange
    if (exchange.kind === 'connect' || method === 'TRACE') return this.#page(exchange, 405)
    if (!/^[A-Z_-]+$/.test(method)) return this.#page(exchange, 400)
    const target = parseSitePath(exchange.path)
    const host = parseSiteHost(exchange.authority)
    if (target === undefined || host === undefined) return this.#page(exchange, 400)
    if (Number(exchange.headers['content-length'] ?? 0) > MAX_REQUEST_CONTENT_BYTES)
      return this.#page(exchange, 413)
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') return this.#page(exchange, 405)
    await this.#find(exchange, target, host)
  }

  #page(exchange: Exchange, status: number, after: ResponseHeaders = {}): void {
    this.#deps.pages.send(exchange, status, after)
  }

  async #find(exchange: PlainExchange, target: SitePath, host: string): Promise<void> {
    const { files } = this.#deps
    const wantsIndex = target.path.endsWith('/')
    const path = wantsIndex ? target.path + this.#options.index : target.path
    let entry = await files.find(path)
    if (wantsIndex && entry.kind === 'missing') {
      const parent = await files.find(target.path === '/' ? '/' : target.path.slice(0, -1))
      // No listing: a directory without an index file is forbidden.
      if (parent.kind === 'directory') entry = { kind: 'forbidden' }
      else if (parent.kind === 'file') await parent.close()
    }
    switch (entry.kind) {
      case 'missing':
        return this.#page(exchange, 404)
      case 'forbidden':
        return this.#page(exchange, 403)
      case 'failed':
        this.#deps.counters.count('decoy_failures')
        return this.#page(exchange, 500)
      case 'directory':
        return this.#redirect(exchange, { ...target, path: `${path}/` }, host)
      case 'file':
        return this.#sendFile(exchange, path, entry)
    }
  }

  #redirect(exchange: PlainExchange, target: SitePath, host: string): void {
    const { redirectPort } = this.#options
    const port = redirectPort === undefined || redirectPort === 443 ? '' : `:${redirectPort}`
    const query = target.query ? `?${target.query}` : ''
    const location = `https://${host}${port}${encodeSitePath(target.path)}${query}`
    this.#page(exchange, 301, { location })
  }

  async #sendFile(exchange: PlainExchange, path: string, file: SiteFile): Promise<void> {
    try {
      if (exchange.method === 'POST') return this.#page(exchange, 405)
      // nginx invites the content before it discards it, but only where it has a file to send.
      exchange.body()
      const type = contentTypeOf(path)
      const validators = makeValidators(file.modifiedMs, file.sizeBytes)
      const lastModified = new Date(validators.modifiedSecs * 1000).toUTCString()
      const { etag } = validators
      const status = checkPreconditions(exchange.headers, validators)
      if (status === 412) return this.#page(exchange, 412)
      const opening = this.#deps.pages.opening()
      if (status === 304) {
        exchange.respond(304, { ...opening, 'last-modified': lastModified, etag }, { endStream: true })
        return
      }
      const { range } = exchange.headers
      const applies = range !== undefined && rangeApplies(exchange.headers['if-range'], validators)
      const ranges = applies ? parseRange(range, file.sizeBytes) : 'whole'
      if (ranges === 'unsatisfiable')
        return this.#page(exchange, 416, { 'content-range': `bytes */${file.sizeBytes}` })
      const parts = this.#layOut(ranges, type, file.sizeBytes)
      const headers: ResponseHeaders = {
        ...opening,
        'content-type': parts.contentType,
        'content-length': String(parts.lengthBytes),
        'last-modified': lastModified,
        etag,
        ...parts.last,
      }
      await this.#sendContent(exchange, parts, headers, file)
    } finally {
      await file.close()
    }
  }

  #layOut(ranges: 'whole' | readonly ByteRange[], type: string, size: number): Layout {
    if (ranges === 'whole') {
      const last = { 'accept-ranges': 'bytes' }
      return { status: 200, contentType: type, lengthBytes: size, pieces: [{ start: 0, end: size }], last }
    }
    const [first] = ranges
    if (ranges.length === 1 && first !== undefined) {
      const last = { 'content-range': `bytes ${first.start}-${first.end - 1}/${size}` }
      return { status: 206, contentType: type, lengthBytes: first.end - first.start, pieces: [first], last }
    }
    const boundary = String(++this.#boundary).padStart(20, '0')
    const pieces = layOutMultipart(ranges, boundary, type, size)
    const lengthBytes = pieces.reduce((sum, piece) => sum + pieceLength(piece), 0)
    const contentType = `multipart/byteranges; boundary=${boundary}`
    return { status: 206, contentType, lengthBytes, pieces, last: {} }
  }

  async #sendContent(
    exchange: PlainExchange,
    layout: Layout,
    headers: ResponseHeaders,
    file: SiteFile,
  ): Promise<void> {
    const empty = exchange.method === 'HEAD' || layout.lengthBytes === 0
    const sink: Writable = exchange.respond(layout.status, headers, { endStream: empty })
    discardContent(exchange, this.#deps.clock)
    if (empty) return
    const writer = new ContentWriter(exchange, sink, this.#deps.idleMonitor, this.#options.sendTimeoutMs)
    const place = this.#budget.open(exchange.session.remoteAddress)
    try {
      if (!(await sendPieces(layout, file, writer, place))) exchange.reset('excessive_load')
    } finally {
      place.release()
      writer.release()
    }
  }
}

/** Either bytes between the parts of multipart content, or a range of the file. */
type Piece = Buffer | ByteRange

interface Layout {
  readonly status: 200 | 206
  readonly contentType: string
  readonly lengthBytes: number
  readonly pieces: readonly Piece[]
  /** Fields that come last. */
  readonly last: ResponseHeaders
}

function pieceLength(piece: Piece): number {
  return Buffer.isBuffer(piece) ? piece.length : piece.end - piece.start
}

/** RFC 9110 section 14.6. */
function layOutMultipart(
  ranges: readonly ByteRange[],
  boundary: string,
  type: string,
  size: number,
): readonly Piece[] {
  const pieces = ranges.flatMap((range) => [
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: bytes ${range.start}-${range.end - 1}/${size}\r\n\r\n`,
    ),
    range,
  ])
  return [...pieces, Buffer.from(`\r\n--${boundary}--\r\n`)]
}

/**
 * One chunk at a time: what a client does not take is in memory once, and counted. False when too many answers wait.
 */
async function sendPieces(
  layout: Layout,
  file: SiteFile,
  writer: ContentWriter,
  place: ContentPlace,
): Promise<boolean> {
  let leftBytes = layout.lengthBytes
  let maxBytes = FIRST_CHUNK_BYTES
  for (const piece of layout.pieces) {
    const lengthBytes = pieceLength(piece)
    for (let offset = 0; offset < lengthBytes;) {
      const wanted = Math.min(maxBytes, lengthBytes - offset)
      if (!place.take(wanted)) {
        // An answer that waits holds neither bytes nor the file.
        await file.rest()
        let queued = true
        const alive = await writer.until((done) => {
          queued = place.queue(wanted, done)
          if (!queued) done(new Error('too many wait'))
        })
        if (!alive) return queued
      }
      const chunk = Buffer.isBuffer(piece) ? piece : await file.read(piece.start + offset, wanted)
      // The file was shortened while we read it: the promised length cannot be kept.
      if (chunk.length === 0) throw new Error('file became shorter')
      offset += chunk.length
      leftBytes -= chunk.length
      const sent = writer.send(chunk, leftBytes === 0)
      // A client that reads slowly, or not at all, must not keep a file open.
      await file.rest()
      if (!(await sent)) return true
      place.release()
      maxBytes = CHUNK_BYTES
    }
  }
  return true
}
