/**
 * The endpoint is killed and started again on its port. The library cannot answer clients of sessions that it does not
 * know (no stateless reset): they find out through their own health check, and a new session works as soon as the
 * endpoint listens. `docs/protocol.md` gives the times.
 */
import { expect, it } from 'vitest'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { USER } from '../support/endpoint.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const HEADERS = {
  'proxy-authorization': `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`,
}

/** Tries until a health check is answered, as a client does. */
async function connectAgain(port: number): Promise<H3Client> {
  for (;;) {
    const client = await H3Client.open(port, { connectTimeoutMs: 300 }).catch(() => undefined)
    if (client === undefined) continue
    if ((await client.tunnel('_check', HEADERS)).status === 200) return client
    await client[Symbol.asyncDispose]()
  }
}

it('a client whose endpoint was killed has a new session as soon as it is back', async () => {
  const options = { protocols: ['http2', 'quic'] } as const
  const first = await EndpointProcess.start(options)
  await using before = await H3Client.open(first.port)
  let told = false
  void before.closed.then(() => (told = true))
  expect((await before.tunnel('_check', HEADERS)).status).toBe(200)
  process.kill(first.program.pid, 'SIGKILL')
  const killedAt = performance.now()
  const again = connectAgain(first.port)
  await first[Symbol.asyncDispose]()
  await using second = await EndpointProcess.start({ ...options, listen: `127.0.0.1:${first.port}` })
  const backAt = performance.now()
  await using client = await again
  const waited = Math.round(performance.now() - backAt)
  console.log(`started again after ${Math.round(backAt - killedAt)} ms, connected ${waited} ms later`)
  expect((await client.tunnel('_check', HEADERS)).status).toBe(200)
  expect(second.port).toBe(first.port)
  expect(told).toBe(false)
})

expectNothingLeftOpen()
