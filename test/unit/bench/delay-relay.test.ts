import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { RelayRequest } from '../../bench/delay-relay.ts'
import { modulePath } from '../../bench/module-path.ts'
import { AskedProcess } from '../../bench/pinned-process.ts'
import { expectNothingLeftOpen } from '../../support/leak-check.ts'

const DELAY_MS = 60

/** An echo server behind the relay, and a client in front of it. */
async function openLongWay(): Promise<AsyncDisposable & { readonly client: Socket }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const relay = new AskedProcess<RelayRequest>(modulePath('delay-relay.ts'), {})
  const { port } = server.address() as AddressInfo
  const relayPort = await relay.ask<number>({ do: 'listen', address: '127.0.0.1', port, delayMs: DELAY_MS })
  const client = connect({ host: '127.0.0.1', port: relayPort, allowHalfOpen: true })
  await once(client, 'connect')
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      client.destroy()
      server.close()
      await relay[Symbol.asyncDispose]()
    },
  }
}

describe('the relay that stands for a long way', () => {
  it('brings every byte and the end, in order, after the delay of both directions', async () => {
    await using way = await openLongWay()
    const sent = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
    const startMs = performance.now()
    way.client.end(sent)
    const chunks: Buffer[] = []
    let firstMs: number | undefined
    for await (const chunk of way.client as AsyncIterable<Buffer>) {
      firstMs ??= performance.now()
      chunks.push(chunk)
    }
    expect(Buffer.concat(chunks).equals(sent)).toBe(true)
    // Timers may fire a little early.
    expect((firstMs ?? 0) - startMs).toBeGreaterThan(2 * DELAY_MS - 5)
  })
})

expectNothingLeftOpen()
