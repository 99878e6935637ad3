/** What lanes log reaches the log although lines are gathered: when the endpoint ends, and when a lane dies. */
import { describe, expect, it } from 'vitest'
import { startEndpoint, USER } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { MORTAL_LANE, killLane } from '../support/lane-killer.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const SESSIONS = 20

describe('log lines of a lane', () => {
  it('log lines of a lane are complete and in order when a signal follows them', async () => {
    await using endpoint = await EndpointProcess.start()
    const clients = await Promise.all(
      Array.from({ length: SESSIONS }, () => H2Client.open({ port: endpoint.port, ...USER })),
    )
    for (const client of clients) expect((await client.connect('_icmp')).status).toBe(501)
    endpoint.program.signal('SIGTERM')
    const { code, stdout } = await endpoint.program.finished
    expect(code).toBe(0)
    const logged = stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text) as { msg: string; session?: string })
    const sessionsOf = (msg: string) =>
      logged.filter((entry) => entry.msg === msg).map(({ session }) => session)
    expect(new Set(sessionsOf('request refused')).size).toBe(SESSIONS)
    expect(sessionsOf('session ended').toSorted()).toEqual(sessionsOf('request refused').toSorted())
    expect(logged.at(-1)?.msg).toBe('ended')
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  it('log lines of a lane that dies reach the log before another takes its place', async () => {
    await using endpoint = await startEndpoint({ laneThread: MORTAL_LANE })
    const client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_icmp')).status).toBe(501)
    killLane(0)
    await endpoint.waitForLog(({ msg }) => msg === 'the lane runs again')
    const told = endpoint.logs.map(({ msg }) => msg)
    expect(told.slice(0, told.indexOf('the lane runs again'))).toContain('request refused')
    await client[Symbol.asyncDispose]()
  })
})

expectNothingLeftOpen()
