/**
 * Clients on Go's `golang.org/x/net/http2`, whose tunnels are request and answer at the same time, and on its `net/http`,
 * which uses the endpoint as any other proxy.
 */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { GoClient, goObstacle } from '../support/go-client.ts'
import type { GoRun } from '../support/go-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { openEcho, openTcpTarget } from '../support/targets.ts'

const MIB = 1024 * 1024
const PATIENCE_MS = 120_000
const BUILD_PATIENCE_MS = 250_000
const AUTHORIZATION = encodeBasicAuth(USER.username, USER.password)
const note = goObstacle === undefined ? '' : ` (skipped: ${goObstacle})`

describe.skipIf(goObstacle !== undefined)(`Go${note}`, () => {
  let go: GoClient
  let endpoint: TestEndpoint
  beforeAll(async () => {
    go = await GoClient.build()
    endpoint = await startEndpoint({ tables: OPEN_EDGE })
  }, BUILD_PATIENCE_MS)
  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await go[Symbol.asyncDispose]()
  })

  const start = (scenario: string, ...args: string[]): GoRun =>
    go.start(scenario, String(endpoint.port), AUTHORIZATION, ...args)

  it("Go's HTTP/2 gets the decoy page", async () => {
    const { bytes, length, ...rest } = (await start('page').finish()) as Record<string, number>
    expect(rest).toEqual({ status: 200, proto: 'HTTP/2.0', type: 'text/html' })
    expect(bytes).toBe(length)
  })

  it(
    "Go's HTTP/2 has 64 tunnels in one session echo 8 MiB each, and ends them by half-close",
    { timeout: PATIENCE_MS },
    async () => {
      await using echo = await openEcho()
      const result = await start('tunnels', echo.authority).finish()
      expect(result).toEqual({ tunnels: 64, bytes: 512 * MIB })
      await expect.poll(() => echo.sockets.size).toBe(0)
      await endpoint.waitForStats((now) => now['tunnels_ended{ended}'] === 64)
    },
  )

  it("Go's HTTP/2 sends on after the target has ended its direction", async () => {
    await using target = await openTcpTarget((socket) => socket.end('hello'))
    const arrival = target.nextSocket()
    const client = start('server-end', target.authority)
    const received = readAll(await arrival)
    expect(await client.finish()).toEqual({ greeting: 'hello' })
    expect((await received).length).toBe(MIB)
  })

  it("Go's HTTP/2 gives up a tunnel in mid-transfer: the target sees RST, the session stays", async () => {
    await using echo = await openEcho()
    await using other = await openEcho()
    const arrival = echo.nextSocket()
    const client = start('cancel', echo.authority, other.authority)
    const [error] = (await once(await arrival, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNRESET')
    expect(await client.finish()).toEqual({ alive: true })
  })

  it("Go's HTTP/2 sees the reset of a target in mid-transfer, and the session stays", async () => {
    await using target = await openTcpTarget((socket) => {
      socket.write(Buffer.alloc(MIB))
      socket.once('data', () => socket.resetAndDestroy())
    })
    expect(await start('target', target.authority).finish()).toEqual({ code: 'CONNECT_ERROR' })
  })

  it("Go's HTTP/2 goes elsewhere with new streams at a shutdown, and finishes the old one", async () => {
    await using echo = await openEcho()
    await using leaving = await EndpointProcess.start({ tables: '[culvert]\nshutdown_grace_secs = 3600\n' })
    const client = go.start(
      'drain',
      String(leaving.port),
      AUTHORIZATION,
      echo.authority,
      String(endpoint.port),
    )
    expect(await client.line()).toBe('open')
    leaving.program.signal('SIGTERM')
    expect(await client.line()).toBe('finished')
    expect((await leaving.program.finished).code).toBe(0)
    expect(await client.finish()).toEqual({ dials: 2 })
  })

  it("Go's net/http sends through tunnels of HTTP/1.1, and reads the refusal of wrong credentials", async () => {
    expect(await start('http1').finish()).toEqual({
      exchanges: 16,
      refusal: expect.stringContaining('Proxy Authentication Required') as string,
    })
  })
})

expectNothingLeftOpen()
