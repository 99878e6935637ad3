/** The transport contract over HTTP/2. */
import { once } from 'node:events'
import type { ClientHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import { H2Client, answerOf } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { startTlsTransport } from '../support/tls-transport.ts'
import { runTransportContract } from './transport.contract.ts'
import type { ContractExchange } from './transport.contract.ts'

function exchangeOf(stream: ClientHttp2Stream): ContractExchange {
  const answer = answerOf(stream).then(({ status, headers }) => ({ status, headers: { ...headers } }))
  answer.catch(() => {})
  return { answer, stream, reset: () => resetWithoutEnd(stream) }
}

/** `close` alone would end the stream first (lib/internal/http2/core.js, closeStream). */
function resetWithoutEnd(stream: ClientHttp2Stream): void {
  stream.end = () => stream
  stream.close(constants.NGHTTP2_CANCEL)
}

runTransportContract({
  protocol: 'HTTP2',
  multiplexed: true,
  start: async (accept) => {
    const transport = await startTlsTransport('h2', accept)
    return {
      open: async () => {
        const client = await H2Client.open({ port: transport.port })
        return {
          connect: (authority, headers) => exchangeOf(client.request(authority, headers)),
          request: (method, path, headers) => {
            const fields = { ':method': method, ':path': path, ':authority': 'vpn.endpoint', ...headers }
            const stream = client.session.request(fields, { endStream: false })
            stream.on('error', () => {})
            return exchangeOf(stream)
          },
          get: (scheme, authority, path) => {
            const fields = { ':scheme': scheme, ':path': path, ':authority': authority }
            return exchangeOf(client.session.request(fields, { endStream: true }))
          },
          hearsOfDrain: () => once(client.session, 'goaway'),
          destroy: async () => {
            // The connection breaks: no GOAWAY, no RST_STREAM.
            const closed = once(client.session, 'close')
            client.socket.destroy()
            await closed
          },
        }
      },
      [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
    }
  },
})

expectNothingLeftOpen()
