/**
 * Sends a stranger's bytes to a port and records what comes back, in a form that can be compared with another server's
 * answer to the same: the handshake, the answer without the parts that must differ, and how the connection ends.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { describeFrames } from './http2-frames.ts'

export const END = Symbol('end')

export interface Probe {
  /** Unique; `docs/camouflage.md` refers to it. */
  readonly name: string
  /** Send over TLS with these options; when absent, the bytes go onto the bare connection. */
  readonly tls?: ConnectionOptions
  /** In order, each once the kernel has taken the one before; {@link END} closes our half. */
  readonly send: readonly (string | Buffer | typeof END)[]
  /** How to read the answer; default: `message`. */
  readonly shows?: Shows
}

/**
 * `message`: status, fields and content of HTTP/1.1, however the head is written; `text`: every byte. `frames`: HTTP/2
 * without what a server announces first and how it compresses; `all frames`, `header blocks`: including that.
 */
export type Shows = 'message' | 'text' | 'frames' | 'all frames' | 'header blocks'

/** What a stranger can observe. */
export interface Outcome {
  /** Version and protocol, or the error that ended the handshake. */
  readonly handshake?: string
  readonly answer: string
  /**
   * `open`: nothing more came for {@link QUIET_MS}. FIN and RST count as the same: which of them a server sends when
   * its input was not read to the end depends on how much had arrived.
   */
  readonly end: 'open' | 'closed'
}

/** Counted from the last sign of life. */
const QUIET_MS = 1500
const HANDSHAKE_PATIENCE_MS = 10_000

export async function runProbe(probe: Probe, port: number): Promise<Outcome> {
  const raw = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  raw.on('error', ignoreError)
  try {
    await once(raw, 'connect')
    if (probe.tls === undefined) return await converse(probe, raw, port)
    const secure = connectTls({
      socket: raw,
      rejectUnauthorized: false,
      servername: 'localhost',
      ...probe.tls,
    })
    const failure = await handshake(secure)
    if (failure !== undefined) return { handshake: failure, answer: '', end: 'closed' }
    const agreed = `${secure.getProtocol()} ${String(secure.alpnProtocol)}`
    return { handshake: agreed, ...(await converse(probe, secure, port)) }
  } finally {
    raw.destroy()
  }
}

/** Undefined when it succeeded, else the error. */
function handshake(socket: TLSSocket): Promise<string | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve('open'), HANDSHAKE_PATIENCE_MS)
    const settle = (result: string | undefined): void => {
      clearTimeout(timer)
      resolve(result)
    }
    socket.once('secureConnect', () => settle(undefined))
    socket.once('close', () => settle('closed'))
    socket.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? error.message))
  })
}

function converse(probe: Probe, socket: Socket, port: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const settle = (end: Outcome['end']): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ answer: describe(probe, Buffer.concat(chunks), port), end })
    }
    const timer = setTimeout(() => settle('open'), QUIET_MS)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      timer.refresh()
    })
    socket.once('end', () => settle('closed'))
    socket.once('close', () => settle('closed'))
    socket.on('error', () => settle('closed'))
    for (const piece of probe.send) {
      if (piece === END) socket.end()
      else socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
    }
  })
}

function describe(probe: Probe, answer: Buffer, port: number): string {
  const shows = probe.shows ?? 'message'
  if (shows === 'frames') return describeFrames(answer)
  if (shows === 'all frames') return describeFrames(answer, { announced: true })
  if (shows === 'header blocks') return describeFrames(answer, { blocks: true })
  const text = answer
    .toString('latin1')
    .replace(/^date: .*\r$/gim, 'Date: *\r')
    // A test's endpoint mentions the port in its file, which is a random one.
    .replaceAll(`:${port}/`, ':PORT/')
    .replaceAll(':0/', ':PORT/')
  return shows === 'text' ? text : describeMessages(text)
}

/** Each message, ignoring the reason phrase, spelling and order of its head. */
function describeMessages(text: string): string {
  return text
    .split(/^(?=HTTP\/1\.[01] )/m)
    .map((message) => {
      const end = message.indexOf('\r\n\r\n')
      if (!message.startsWith('HTTP/') || end < 0) return message
      const [statusLine = '', ...fields] = message.slice(0, end).split('\r\n')
      const shown = fields.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase())).toSorted()
      const kept = shown.filter((line) => !line.startsWith('keep-alive:'))
      return [statusLine.slice(0, 12), ...kept, '', message.slice(end + 4)].join('\n')
    })
    .join('')
}

function ignoreError(): void {}
