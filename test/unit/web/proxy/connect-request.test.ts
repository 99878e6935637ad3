/**
 * An answer to CONNECT has no length, so that only the way it ends says whether it is whole. A client that reads slowly
 * leaves the end of it in our memory; the origin's reset must not look like a proper end then.
 */
import http from 'node:http'
import type { Socket } from 'node:net'
import { PassThrough, Writable } from 'node:stream'
import { expect, it } from 'vitest'
import { systemClock } from '../../../../src/clock.ts'
import type { PlainExchange } from '../../../../src/contract/exchange.ts'
import type { Session } from '../../../../src/contract/session.ts'
import { IdleMonitor } from '../../../../src/relay/idle-monitor.ts'
import { ConnectRequest } from '../../../../src/web/proxy/connect-request.ts'
import { OriginConnection } from '../../../../src/web/proxy/origin-connection.ts'
import { readHead } from '../../../support/raw-origin.ts'
import { settled } from '../../../support/settled.ts'
import { openTcpTarget } from '../../../support/targets.ts'

const HEAD = 'HTTP/1.1 200 OK\r\n\r\n'
/** More than the sink takes before it asks to wait. */
const CONTENT = Buffer.alloc(100_000)
/** Less than the socket reads ahead. */
const REST = Buffer.alloc(10_000)

it.each(['reset', 'end'] as const)(
  'the %s of an origin reaches a client that has not read the content before it',
  async (way) => {
    const opened = Promise.withResolvers<Socket>()
    await using origin = await openTcpTarget((socket) => {
      socket.on('error', () => {})
      void readHead(socket).then(() => opened.resolve(socket))
    })
    const { sink, release } = openSlowSink()
    let reset: string | undefined
    const exchange = {
      ...plainExchange(),
      respond: () => sink,
      reset: (reason: string) => void (reset = reason),
    } as PlainExchange
    let connection: Socket | undefined
    const request = new ConnectRequest(exchange, {
      source: {
        open: (head) => {
          const outgoing = http.request({ ...head, host: '127.0.0.1', port: origin.port, agent: false })
          outgoing.on('socket', (socket) => (connection = socket))
          return outgoing
        },
      },
      limits: { connectTimeoutMs: 10_000, responseTimeoutMs: 10_000, idleTimeoutMs: 10_000 },
      clock: systemClock,
      idleMonitor: new IdleMonitor(systemClock),
      hostFor: () => 'app.test',
      responseHeaders: () => ({}),
    })
    const outcome = request.run()
    const socket = await opened.promise
    socket.write(Buffer.concat([Buffer.from(HEAD), CONTENT]))
    await settled(() => connection?.isPaused() === true)
    socket.write(REST)
    await settled(() => connection?.readableLength === REST.length)
    if (way === 'reset') socket.resetAndDestroy()
    else socket.end()
    if (way === 'reset') await settled(() => OriginConnection.of(connection as Socket).wasReset)
    release()
    expect(await outcome).toMatchObject(
      way === 'reset' ? { kind: 'failed', failure: 'response_cut' } : { kind: 'complete' },
    )
    expect(reset).toBe(way === 'reset' ? 'internal_error' : undefined)
    expect(sink.writableEnded).toBe(way === 'end')
    request.destroy()
    socket.destroy()
    connection?.destroy()
  },
)

/** Takes nothing until it is released. */
function openSlowSink(): { sink: Writable; release: () => void } {
  const waiting: (() => void)[] = []
  let open = false
  const sink = new Writable({
    write: (_chunk, _encoding, done) => {
      if (open) done()
      else waiting.push(done)
    },
  })
  return {
    sink,
    release: () => {
      open = true
      for (const done of waiting) done()
    },
  }
}

function plainExchange(): Omit<PlainExchange, 'respond' | 'reset'> {
  const body = new PassThrough()
  return {
    kind: 'plain',
    session: { id: '1' } as Session,
    channel: 'reverse_proxy',
    authority: 'app.test',
    headers: {},
    signal: new AbortController().signal,
    method: 'GET',
    scheme: 'https',
    path: '/',
    body: () => body,
    refuse: () => {},
    cancel: () => {},
  }
}
