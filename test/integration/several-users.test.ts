/**
 * Two users on one session (`allow_multiple_credentials_per_connection`), and many tunnels of one user. The key was not
 * obeyed: a second user got in, and when one of the two was removed the other was cut off as well. And one user with
 * 600 tunnels at a limit of 400 descriptors locked everybody else out.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import http2 from 'node:http2'
import type { ClientHttp2Stream } from 'node:http2'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openEcho } from '../support/targets.ts'

const FIRST = `[[client]]\nusername = "premium"\npassword = 'p:w"x'\n`
const SECOND = '[[client]]\nusername = "second"\npassword = "two"\n'
const AS_SECOND = { 'proxy-authorization': encodeBasicAuth('second', 'two') }
const AUTHENTICATION_REQUIRED = 0x1f

async function setUsers(endpoint: TestEndpoint, credentials: string): Promise<void> {
  await writeFile(join(endpoint.directory, 'credentials.toml'), credentials)
  await endpoint.supervisor.reload()
}

async function ask(stream: ClientHttp2Stream, text: string): Promise<string> {
  stream.write(text)
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  return chunk.toString()
}

describe('a session', () => {
  it('a session belongs to the user who was first: others are answered like wrong credentials', async () => {
    await using endpoint = await startEndpoint({ credentials: FIRST + SECOND })
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_check')).status).toBe(200)
    const second = await client.connect('_check', AS_SECOND)
    const wrong = await client.connect('_check', {
      'proxy-authorization': encodeBasicAuth('second', 'wrong'),
    })
    expect(second.status).toBe(407)
    expect({ ...second.headers }).toEqual({ ...wrong.headers })
    expect((await client.connect('_check')).status).toBe(200)
    await using own = await H2Client.open({ port: endpoint.port, username: 'second', password: 'two' })
    expect((await own.connect('_check')).status).toBe(200)
  })

  it('a session may be shared where the file says so, and a revoked user takes nothing from the other', async () => {
    await using endpoint = await startEndpoint({
      credentials: FIRST + SECOND,
      keys: 'allow_multiple_credentials_per_connection = true',
    })
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream: first } = await client.connect(echo.authority)
    const { stream: second } = await client.connect(echo.authority, AS_SECOND)
    expect([await ask(first, 'one'), await ask(second, 'two')]).toEqual(['one', 'two'])

    const cutOff = new Promise((resolve) => second.once('close', resolve))
    await setUsers(endpoint, FIRST)
    await cutOff
    expect(second.rstCode).toBe(http2.constants.NGHTTP2_CANCEL)
    expect(await ask(first, 'still here')).toBe('still here')
    expect((await client.connect('_check', AS_SECOND)).status).toBe(407)

    const goaway = once(client.session, 'goaway')
    await setUsers(endpoint, SECOND)
    expect((await goaway)[0]).toBe(AUTHENTICATION_REQUIRED)
    const stats = await endpoint.waitUntilFree()
    expect(stats['sessions_revoked']).toBe(1)
  })
})

describe('the tunnels of a user', () => {
  it('the tunnels of a user are limited over all his sessions, health checks and other users are not', async () => {
    await using endpoint = await startEndpoint({
      credentials: FIRST + SECOND,
      tables: '[culvert.users]\nmax_tunnels = 3\n',
    })
    await using echo = await openEcho()
    await using one = await H2Client.open({ port: endpoint.port, ...USER })
    await using two = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream } = await one.connect(echo.authority)
    expect((await one.connect('_udp2')).status).toBe(200)
    expect((await two.connect(echo.authority)).status).toBe(200)

    const { status, headers } = await two.connect(echo.authority)
    expect([status, headers['retry-after']]).toEqual([429, '30'])
    expect((await two.connect('_check')).status).toBe(200)
    await using other = await H2Client.open({ port: endpoint.port, username: 'second', password: 'two' })
    expect((await other.connect(echo.authority)).status).toBe(200)
    expect((await endpoint.supervisor.stats())['user_limits_met{tunnels}']).toBe(1)

    stream.end()
    await once(stream.resume(), 'close')
    await endpoint.waitForStats((stats) => stats['tunnels_ended{ended}'] === 1)
    expect((await two.connect(echo.authority)).status).toBe(200)
  })

  it('the tunnels of a user that were refused by their target take no place', async () => {
    await using endpoint = await startEndpoint({ tables: '[culvert.users]\nmax_tunnels = 1\n' })
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    for (let i = 0; i < 3; i++) expect((await client.connect('127.0.0.1:1')).status).toBe(502)
  })
})

expectNothingLeftOpen()
