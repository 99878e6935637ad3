/**
 * Lanes that die again and again, or cannot die. The log used to have a code and no stack, or only a message; anyone who
 * asked the lane something waited forever; and once in fifty times the process stayed and refused everybody, because its
 * thread hung in native code. (`lane-restart.test.ts` has the lane that dies once.)
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { LaneHandle } from '../../src/control/lane-handle.ts'
import { Supervisor } from '../../src/control/supervisor.ts'
import { ConfigDirectory, VPN } from '../support/config-directory.ts'
import { loneLane, planOf } from '../support/lane-share.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const POLL_MS = 20
const FAILING_LANE = new URL('../support/failing-lane.ts', import.meta.url)
const REAL_LANE = new URL('../../src/lane/thread.ts', import.meta.url)

const ANY_PORT = { 'vpn.toml': `${VPN.replace(':8443', ':0')}[listen_protocols.quic]\n` }

async function startFailing(directory: ConfigDirectory): Promise<Supervisor> {
  const supervisor = new Supervisor({
    settings: await directory.load(),
    load: (running) => directory.load(running),
    lanes: 1,
    log: pino({ level: 'silent' }),
    logLevel: 'silent',
    writeLog: () => {},
    laneThread: FAILING_LANE,
  })
  await supervisor.start()
  return supervisor
}

/** How a process ends whose lanes fail at once. */
async function runFailing(directory: ConfigDirectory, ...args: string[]) {
  const script = fileURLToPath(new URL('../support/failing-endpoint.ts', import.meta.url))
  // If it stays, this must not be mistaken for its own end.
  const child = spawn(process.execPath, [script, directory.vpn, directory.hosts, ...args], {
    timeout: 20_000,
    killSignal: 'SIGABRT',
    // Its private directory is created here, and must be gone when the process is.
    env: { ...process.env, TMPDIR: dirname(directory.vpn) },
  })
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { level: number; code?: string; err?: Record<string, string> })
  return { code, lines, last: lines.at(-1) }
}

describe('after lanes have failed three times', () => {
  it('after lanes have failed three times, every question is answered, those under way and later ones', async () => {
    using directory = new ConfigDirectory(ANY_PORT)
    const supervisor = await startFailing(directory)
    const end = new AbortController()
    const closed = supervisor.closed.finally(() => end.abort())
    closed.catch(() => {})
    while (!end.signal.aborted) {
      await expect(supervisor.stats()).rejects.toThrow('the lane has ended')
      await setTimeout(POLL_MS)
    }
    await expect(closed).rejects.toMatchObject({ message: 'a fault of our own', code: 'ERR_OF_OURS' })
    await expect(supervisor.stats()).rejects.toThrow('the lane has ended')
    await expect(supervisor.reload()).rejects.toThrow('the lane has ended')
    await supervisor.close({ graceMs: 3_600_000 })
  })

  it('after lanes have failed three times, the log has each with code and stack, and the process ends with 1', async () => {
    using directory = new ConfigDirectory(ANY_PORT)
    const { code, lines } = await runFailing(directory, 'failing-lane.ts')
    const failures = lines.filter((line) => line.code === 'ERR_OF_OURS')
    expect(failures.map(({ level }) => level)).toEqual([50, 50, 60])
    expect(lines.at(-2)).toMatchObject({ level: 50, msg: 'lanes have failed too often: the process ends' })
    expect(lines.at(-1)).toMatchObject({ level: 60, err: { message: 'a fault of our own' } })
    for (const { err } of failures) expect(err?.['stack']).toContain('failing-lane.ts')
    expect(code).toBe(1)
  })
})

it('after a lane has failed whose thread hangs in native code, the process ends with 1', async () => {
  using directory = new ConfigDirectory(ANY_PORT)
  const { code, lines } = await runFailing(directory, 'hanging-lane.ts')
  expect(lines).toContainEqual(expect.objectContaining({ level: 50, code: 'ERR_OF_OURS' }))
  expect(lines.at(-1)).toMatchObject({ level: 60, err: { message: 'the thread of a lane does not end' } })
  expect(code).toBe(1)
  expect(readdirSync(directory.path).filter((name) => name.startsWith('culvert-'))).toEqual([])
})

it('an error that nobody catches in the control thread is logged in the same way, and ends the process with 1', async () => {
  using directory = new ConfigDirectory(ANY_PORT)
  const { code, last } = await runFailing(directory, REAL_LANE.href, 'control')
  expect(last).toMatchObject({ level: 60, code: 'ERR_OF_CONTROL', err: { message: 'a fault of control' } })
  expect(last?.err?.['stack']).toContain('failing-endpoint.ts')
  expect(code).toBe(1)
})

it('a thread without a lane says so instead of "done"', async () => {
  using directory = new ConfigDirectory(ANY_PORT)
  const settings = await directory.load()
  const handle = new LaneHandle({
    birth: { ...loneLane(), settings, logLevel: 'silent', ticketKeys: new Uint8Array(48) },
    thread: REAL_LANE,
    writeLog: () => {},
    clock: systemClock,
  })
  await expect(handle.ask({ type: 'prepare', settings, ledger: planOf() })).rejects.toThrow(
    'the lane has not been started',
  )
  await expect(handle.ask({ type: 'stats' })).rejects.toThrow('the lane has not been started')
  await handle.ask({ type: 'close', graceMs: 0 })
  await handle.terminate()
  await handle.ended
})

expectNothingLeftOpen()
