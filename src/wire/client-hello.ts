/**
 * The ClientHello of a TLS connection, read before TLS itself sees it (RFC 8446 sections 4.1.2 and 5.1, RFC 6066, RFC
 * 7301).
 *
 *   record     type 1 (22) | version 2 | length 2 | fragment
 *   handshake  type 1 (1) | length 3 | version 2 | random 32 | session id | suites | compression | extensions
 *
 * The message may be spread over any number of records and arrive in any pieces; each byte is looked at once.
 */
import { EndpointError } from '../errors.ts'
import { Cursor } from './cursor.ts'

/** The most that is read from a connection before giving up, record headers included. */
export const MAX_CLIENT_HELLO_BYTES = 16_384

const RECORD_HEADER_BYTES = 5
const RECORD_TYPE_HANDSHAKE = 22
const MAX_FRAGMENT_BYTES = 16_384
const HANDSHAKE_HEADER_BYTES = 4
const HANDSHAKE_TYPE_CLIENT_HELLO = 1
const EXTENSION_SERVER_NAME = 0
const EXTENSION_ALPN = 16
const EXTENSION_SUPPORTED_VERSIONS = 43
/** Holds every ordinary hello, post-quantum key shares included; grows by doubling. */
const INITIAL_BUFFER_BYTES = 2048

export interface ClientHello {
  /** 32 bytes. */
  readonly random: Buffer
  /** As sent: neither changed to lower case nor checked. Undefined when there is none. */
  readonly serverName: string | undefined
  /** In the client's order; empty when it sent none. */
  readonly alpn: readonly string[]
  /** From `supported_versions`; empty below TLS 1.3. */
  readonly supportedVersions: readonly number[]
}

/** `not_tls` is decided by the first two bytes; with the others, the beginning did look like TLS. */
export type ClientHelloFault = 'not_tls' | 'bad_record' | 'not_client_hello' | 'too_long' | 'bad_field'

export type ClientHelloResult =
  | { readonly kind: 'need-more' }
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'malformed'; readonly what: ClientHelloFault }

const NEED_MORE: ClientHelloResult = { kind: 'need-more' }

export class ClientHelloParser {
  #result: ClientHelloResult = NEED_MORE
  #seen = 0
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES)
  #headerBytes = 0
  #fragmentLeft = 0
  /** Handshake bytes without the record headers. */
  #message = Buffer.allocUnsafe(INITIAL_BUFFER_BYTES)
  #messageBytes = 0

  /** Takes the next bytes. Once the result is final, every further call returns it again. Keeps nothing of `chunk`. */
  push(chunk: Uint8Array): ClientHelloResult {
    let offset = 0
    while (this.#result.kind === 'need-more' && offset < chunk.length) {
      offset = this.#fragmentLeft > 0 ? this.#takeFragment(chunk, offset) : this.#takeHeader(chunk, offset)
    }
    this.#seen += chunk.length
    if (this.#result.kind === 'need-more' && this.#seen >= MAX_CLIENT_HELLO_BYTES) this.#fail('too_long')
    return this.#result
  }

  #fail(what: ClientHelloFault): void {
    this.#result = { kind: 'malformed', what }
  }

  #takeHeader(chunk: Uint8Array, offset: number): number {
    const byte = chunk[offset] ?? 0
    this.#header[this.#headerBytes] = byte
    const wrong =
      (this.#headerBytes === 0 && byte !== RECORD_TYPE_HANDSHAKE) || (this.#headerBytes === 1 && byte !== 3)
    if (wrong) this.#fail(this.#messageBytes === 0 ? 'not_tls' : 'bad_record')
    this.#headerBytes += 1
    if (this.#headerBytes === RECORD_HEADER_BYTES) {
      this.#headerBytes = 0
      this.#fragmentLeft = this.#header.readUInt16BE(3)
      // An empty handshake fragment is forbidden, and would be a way to keep us busy for nothing.
      if (this.#fragmentLeft === 0 || this.#fragmentLeft > MAX_FRAGMENT_BYTES) this.#fail('bad_record')
    }
    return offset + 1
  }

  #takeFragment(chunk: Uint8Array, offset: number): number {
    const end = Math.min(chunk.length, offset + this.#fragmentLeft, offset + MAX_CLIENT_HELLO_BYTES)
    this.#append(chunk.subarray(offset, end))
    this.#fragmentLeft -= end - offset
    if (this.#message[0] !== HANDSHAKE_TYPE_CLIENT_HELLO) this.#fail('not_client_hello')
    else if (this.#messageBytes >= HANDSHAKE_HEADER_BYTES) this.#parseWhenComplete()
    return end
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#messageBytes + bytes.length
    if (needed > this.#message.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#message.length * 2))
      this.#message.copy(larger, 0, 0, this.#messageBytes)
      this.#message = larger
    }
    this.#message.set(bytes, this.#messageBytes)
    this.#messageBytes = needed
  }

  #parseWhenComplete(): void {
    const end = HANDSHAKE_HEADER_BYTES + this.#message.readUIntBE(1, 3)
    if (end > MAX_CLIENT_HELLO_BYTES) return this.#fail('too_long')
    if (this.#messageBytes < end) return
    try {
      const body = this.#message.subarray(HANDSHAKE_HEADER_BYTES, end)
      this.#result = { kind: 'hello', hello: decodeClientHello(body) }
    } catch (error) {
      if (!(error instanceof EndpointError)) throw error
      this.#fail('bad_field')
    }
  }
}

/**
 * The body of a ClientHello, without record and handshake headers. The random is a copy.
 * @throws EndpointError `too_short` or `malformed`.
 */
function decodeClientHello(body: Uint8Array): ClientHello {
  const cursor = new Cursor(body)
  // legacy_version
  cursor.skip(2)
  const random = Buffer.from(cursor.bytes(32))
  cursor.skip(cursor.u8())
  cursor.skip(cursor.u16())
  cursor.skip(cursor.u8())
  // Without extensions the message ends here (TLS 1.2).
  const extensions = cursor.remaining > 0 ? readExtensions(cursor) : new Map<number, Cursor>()
  const names = extensions.get(EXTENSION_SERVER_NAME)
  const protocols = extensions.get(EXTENSION_ALPN)
  const versions = extensions.get(EXTENSION_SUPPORTED_VERSIONS)
  return {
    random,
    serverName: names && readServerName(names),
    alpn: protocols ? readProtocols(protocols) : [],
    supportedVersions: versions ? readVersions(versions) : [],
  }
}

function readExtensions(cursor: Cursor): Map<number, Cursor> {
  const list = cursor.slice(cursor.u16())
  if (cursor.remaining > 0) throw new EndpointError('malformed', 'bytes behind the extensions')
  const extensions = new Map<number, Cursor>()
  while (list.remaining > 0) {
    const type = list.u16()
    // RFC 8446 section 4.2: a repeated extension ends the handshake. Besides, the TLS stack might use the other one.
    if (extensions.has(type)) throw new EndpointError('malformed', 'repeated extension')
    extensions.set(type, list.slice(list.u16()))
  }
  return extensions
}

function readServerName(cursor: Cursor): string | undefined {
  const list = cursor.slice(cursor.u16())
  while (list.remaining > 0) {
    const type = list.u8()
    const name = list.bytes(list.u16())
    if (type === 0) return Buffer.from(name).toString('latin1')
  }
  return undefined
}

function readProtocols(cursor: Cursor): string[] {
  const list = cursor.slice(cursor.u16())
  const protocols: string[] = []
  while (list.remaining > 0) protocols.push(Buffer.from(list.bytes(list.u8())).toString('latin1'))
  return protocols
}

function readVersions(cursor: Cursor): number[] {
  const list = cursor.slice(cursor.u8())
  const versions: number[] = []
  while (list.remaining > 0) versions.push(list.u16())
  return versions
}
