/**
 * A password could only be changed by cutting its user off (specification 12.2: implementations should support
 * credential rotation). With the previous password and a time in the file both are accepted, sessions go on, and
 * afterwards only the new one works. What the previous one opened goes on through every reload, and through the renewal
 * of a certificate, for as long as it stands in the file: such a change, made after the time, cut off whoever had come
 * with the previous password.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { ClientHttp2Stream } from 'node:http2'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openEcho } from '../support/targets.ts'

const user = (password: string, ...lines: string[]): string =>
  ['[[client]]', 'username = "alice"', `password = "${password}"`, ...lines].join('\n')

const former = (password: string, untilMs: number): string[] => [
  `password_previous = "${password}"`,
  `previous_until = ${new Date(untilMs).toISOString()}`,
]

async function rewrite(endpoint: TestEndpoint, credentials: string): Promise<void> {
  await writeFile(join(endpoint.directory, 'credentials.toml'), credentials)
  await endpoint.supervisor.reload()
}

async function check(endpoint: TestEndpoint, password: string): Promise<number> {
  await using client = await H2Client.open({ port: endpoint.port, username: 'alice', password })
  return (await client.connect('_check')).status
}

async function ask(stream: ClientHttp2Stream, text: string): Promise<string> {
  stream.write(text)
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  return chunk.toString()
}

it('a password is replaced under a running session, and the old one ends at its time', async () => {
  await using endpoint = await startEndpoint({ credentials: user('old') })
  await using echo = await openEcho()
  await using client = await H2Client.open({ port: endpoint.port, username: 'alice', password: 'old' })
  const { stream } = await client.connect(echo.authority)

  await rewrite(endpoint, user('new', ...former('old', Date.now() + 3_600_000)))
  expect(await ask(stream, 'still here')).toBe('still here')
  expect((await client.connect('_check')).status).toBe(200)
  expect([await check(endpoint, 'old'), await check(endpoint, 'new')]).toEqual([200, 200])

  await rewrite(endpoint, user('new', ...former('old', Date.now() + 1500)))
  // Without another reload: its time alone ends it, even for a session that has used it before.
  await expect.poll(() => check(endpoint, 'old'), { timeout: 10_000 }).toBe(407)
  expect((await client.connect('_check')).status).toBe(407)
  expect(await check(endpoint, 'new')).toBe(200)
  expect(await ask(stream, 'what is open goes on')).toBe('what is open goes on')

  await endpoint.supervisor.reload()
  expect(await ask(stream, 'after a reload as well')).toBe('after a reload as well')
  expect([(await client.connect('_check')).status, await check(endpoint, 'old')]).toEqual([407, 407])

  const goaway = once(client.session, 'goaway')
  await rewrite(endpoint, user('new'))
  expect((await goaway)[0]).toBe(0x1f)
  await endpoint.waitUntilFree()
})

expectNothingLeftOpen()
