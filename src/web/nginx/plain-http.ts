/**
 * The answer to bytes on the TLS port that are not TLS: what nginx says there to a plain HTTP request, and to anything
 * else.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import { HeadReader } from '../../wire/http1/head.ts'
import type { Head } from '../../wire/http1/head.ts'
import { encodeErrorAnswer } from './error-answer.ts'

/** nginx's `lingering_timeout`. */
const LINGER_MS = 5000

/** OpenSSL's buffer for a record, and how much of one it reads before it looks at the length. */
const MAX_OLD_HELLO_BYTES = 16_704
const RECORD_HEAD_BYTES = 5

interface PlainHttpOptions {
  /**
   * From the first byte to the end of the head; nginx's `client_header_timeout` is 60 s. The connection then ends
   * without an answer.
   */
  headTimeoutMs: number
}

interface PlainHttpDependencies {
  clock: Clock
  counters: Counters
}

/** Takes over a connection whose first bytes, still to be read from `socket`, are not TLS. */
export function answerPlainHttp(
  socket: Duplex,
  options: PlainHttpOptions,
  deps: PlainHttpDependencies,
): void {
  const { clock, counters } = deps
  const reader = new HeadReader({ tunnels: false })
  let started = false
  let timer = clock.after(options.headTimeoutMs, () => socket.destroy())
  const onData = (chunk: Buffer): void => {
    const first = chunk[0]
    if (!started && first !== undefined && isTlsToNginx(first)) {
      socket.off('data', onData)
      counters.count('plain_http_requests', 'broken_tls')
      // An old hello that is incomplete is waited for; anything else ends without an answer.
      if (isOldHello(chunk)) refuseOldHello(socket, chunk)
      else socket.destroy()
      return
    }
    started = true
    const head = reader.push(chunk)
    if (head === undefined) return
    socket.off('data', onData)
    timer.cancel()
    counters.count('plain_http_requests', head.kind === 'sound' ? 'sound' : 'bad')
    timer = clock.after(LINGER_MS, () => socket.destroy())
    finish(socket, encodeErrorAnswer(head, clock.wall()), unreadContent(head, chunk.length - reader.consumed))
  }
  socket.on('data', onData)
  socket.on('error', ignoreError)
  socket.once('end', () => socket.end())
  socket.once('close', () => timer.cancel())
}

/** nginx passes a connection on to OpenSSL when its first byte begins a TLS record or an SSLv2 hello. */
function isTlsToNginx(first: number): boolean {
  return first === 0x16 || first >= 0x80
}

/** SSLv2 hello: two bytes of length, then 1. */
function isOldHello(chunk: Buffer): boolean {
  return chunk.length < 3 || (chunk.readUInt8(0) >= 0x80 && chunk[2] === 1)
}

/** OpenSSL's answer to a hello that is longer than its buffer, as soon as it knows: the fatal alert record_overflow. */
const OLD_HELLO_OVERFLOW = Buffer.from([0x15, 3, 3, 0, 2, 2, 22])

/** OpenSSL's answer to the version in an SSLv2 hello: the fatal alert protocol_version (70). */
function oldHelloAlert(major: number, minor: number): Buffer {
  return Buffer.from([0x15, 3, major === 3 ? minor : 3, 0, 2, 2, 70])
}

/** Waits for the rest of an SSLv2 hello before refusing it, unless it is too long. */
function refuseOldHello(socket: Duplex, first: Buffer): void {
  const lengthBytes = first.length < 2 ? MAX_OLD_HELLO_BYTES : 2 + (first.readUInt16BE(0) & 0x7fff)
  const isTooLong = lengthBytes - 2 > MAX_OLD_HELLO_BYTES
  let received = 0
  const onData = (more: Buffer): void => {
    received += more.length
    if (received < (isTooLong ? RECORD_HEAD_BYTES : lengthBytes)) return
    socket.off('data', onData)
    socket.end(isTooLong ? OLD_HELLO_OVERFLOW : oldHelloAlert(first[3] ?? 0, first[4] ?? 0))
    socket.resume()
  }
  socket.on('data', onData)
  onData(first)
}

/** How many bytes of content the client announced but has not sent yet; chunks are not waited for. */
function unreadContent({ content }: Head, restBytes: number): number {
  return content.kind === 'sized' ? Math.max(0, content.bytes - restBytes) : 0
}

/** Closes at once, or after the content that is still to come. */
function finish(socket: Duplex, answer: Buffer, unreadBytes: number): void {
  let left = unreadBytes
  if (left === 0) {
    socket.end(answer)
    socket.resume()
    return
  }
  socket.write(answer)
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left <= 0 && !socket.writableEnded) socket.end()
  })
}

function ignoreError(): void {}
