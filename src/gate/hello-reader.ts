/**
 * Reads the beginning of a TCP connection: perhaps a PROXY header, then a ClientHello. Both may arrive in any pieces,
 * and their codecs bound the size of both. The header is taken out of the socket, the ClientHello stays in it.
 */
import type { Socket } from 'node:net'
import { ClientHelloParser } from '../wire/client-hello.ts'
import type { ClientHello, ClientHelloFault, ClientHelloResult } from '../wire/client-hello.ts'
import { parseProxyHeader } from '../wire/proxy-protocol.ts'
import type { ProxyHeaderResult, ProxySource } from '../wire/proxy-protocol.ts'
import { readAhead } from './read-ahead.ts'

export type HelloOutcome =
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'fault'; readonly what: ClientHelloFault }
  /** The peer closed before its hello was complete. */
  | { readonly kind: 'ended' }

/**
 * Calls back once; by then everything that was read is in the socket again. Returns a function that stops the reading.
 */
export function readClientHello(socket: Socket, onOutcome: (outcome: HelloOutcome) => void): () => void {
  const parser = new ClientHelloParser()
  const judge = (
    _all: Buffer,
    fresh: Buffer,
  ): Exclude<ClientHelloResult, { kind: 'need-more' }> | undefined => {
    const result = parser.push(fresh)
    return result.kind === 'need-more' ? undefined : result
  }
  return readAhead(
    socket,
    judge,
    ({ verdict, bytes }) => {
      socket.unshift(bytes)
      onOutcome(verdict.kind === 'hello' ? verdict : { kind: 'fault', what: verdict.what })
    },
    () => onOutcome({ kind: 'ended' }),
  )
}

export type ProxyHeaderOutcome =
  /** Without a source, the connection is the balancer's own. */
  | { readonly kind: 'header'; readonly source: ProxySource | undefined }
  /** No header, or one that cannot be read. */
  | { readonly kind: 'fault' }
  | { readonly kind: 'ended' }

/** Calls back once, with the header taken out of the socket. Returns a function that stops the reading. */
export function readProxyHeader(
  socket: Socket,
  onOutcome: (outcome: ProxyHeaderOutcome) => void,
): () => void {
  return readAhead(
    socket,
    judgeProxyHeader,
    ({ verdict, bytes }) => {
      if (verdict.kind === 'malformed') return onOutcome({ kind: 'fault' })
      if (bytes.length > verdict.length) socket.unshift(bytes.subarray(verdict.length))
      onOutcome({ kind: 'header', source: verdict.source })
    },
    () => onOutcome({ kind: 'ended' }),
  )
}

function judgeProxyHeader(all: Buffer): Exclude<ProxyHeaderResult, { kind: 'need-more' }> | undefined {
  const result = parseProxyHeader(all)
  return result.kind === 'need-more' ? undefined : result
}
