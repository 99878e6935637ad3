/**
 * The check at the end of every file with sockets is only worth what it finds: one test for each kind of thing that may
 * be left open.
 */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, open, readFile, readdir, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { LeakCheck } from '../support/leak-check.ts'
import { run } from '../support/outside-program.ts'

const ROOT = join(import.meta.dirname, '../..')
const VITEST = 'node_modules/vitest/vitest.mjs'
const WITH_SOCKETS = ['integration', 'contract', 'interop', 'fuzz']
const LAST_LINE = '\n\nexpectNothingLeftOpen()\n'
/** These open nothing. */
const WITHOUT = ['fuzz/wire.test.ts']

let check: LeakCheck
beforeEach(() => {
  check = new LeakCheck()
})
afterEach(async () => {
  try {
    await check.settle()
  } finally {
    check.end()
  }
})

describe('the leak check', () => {
  it('the leak check is content where nothing was opened', () => {
    expect(check.left()).toEqual([])
  })

  it('the leak check finds a server, and says on which port it listens', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    expect(check.left()).toEqual([
      expect.stringMatching(`^descriptor socket:\\[\\d+\\]: tcp port ${port}, listening$`),
      'handle TCPServerWrap',
    ])
    server.close()
  })

  it('the leak check finds both ends of a connection', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [[far]] = await Promise.all([once(server, 'connection'), once(near, 'connect')])
    const closed = once(server, 'close')
    server.close()
    const sockets = check.left().filter((line) => line.includes('tcp port'))
    expect(sockets.filter((line) => line.includes("peer's port"))).toHaveLength(2)
    near.destroy()
    far.destroy()
    await closed
  })

  it('the leak check finds a socket for datagrams', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    expect(check.left()).toContainEqual(expect.stringContaining(`udp port ${socket.address().port}`))
    socket.close()
  })

  it('the leak check finds a timer that keeps the process alive', () => {
    // More than the runner has of its own: one of those may end in the meantime.
    const timers = Array.from({ length: 10 }, () => setTimeout(() => {}, 60_000))
    expect(new Set(check.left())).toEqual(new Set(['handle Timeout']))
    for (const timer of timers) clearTimeout(timer)
  })

  it('the leak check finds a timer of the system clock until it is cancelled, and says who set it', () => {
    const timers = [systemClock.after(60_000, () => {}), systemClock.every(60_000, () => {})]
    expect(check.left()).toEqual([
      expect.stringMatching(/^timer 1 of 60000 ms set at .*leak-check\.test\.ts/),
      expect.stringMatching(/^timer 2 of every 60000 ms set at .*leak-check\.test\.ts/),
    ])
    for (const timer of timers) timer.cancel()
  })

  it('the leak check forgets a timer of the system clock that has fired', async () => {
    await new Promise<void>((resolve) => systemClock.after(1, resolve))
    expect(check.left()).toEqual([])
  })

  it('the leak check finds a child process, and says which', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    await once(child, 'spawn')
    expect(check.left()).toContainEqual(`process ${child.pid}: sleep 60`)
    child.kill()
    await once(child, 'exit')
  })

  it('the leak check finds a thread', async () => {
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
    await once(worker, 'online')
    expect(check.left()).toContain('descriptor anon_inode:[eventpoll]')
    await worker.terminate()
  })

  it('the leak check finds a file that was left, and one that was removed but not closed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-left-'))
    expect(check.left()).toContainEqual(expect.stringMatching(/^file culvert-left-/))
    const file = await open(join(directory, 'spill'), 'w')
    await rm(directory, { recursive: true })
    expect(check.left()).toContainEqual(expect.stringMatching(/^descriptor .*spill \(deleted\)$/))
    await file.close()
  })

  it('the leak check waits for what is about to close', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    setTimeout(() => socket.close(), 50)
    await check.settle()
  })

  it('the leak check rejects with what is left when that does not close', async () => {
    const timer = setTimeout(() => {}, 60_000)
    await expect(check.settle(0)).rejects.toThrow(/left open after the tests:\n(?:.*\n)*  handle Timeout/)
    clearTimeout(timer)
  })

  it('the leak check fails a file whose tests pass and leave a server open', async () => {
    const args = [VITEST, 'run', '--config', 'test/support/leaking-file.config.ts']
    const { code, stdout, stderr } = await run(process.execPath, args, { cwd: ROOT })
    const output = stdout.toString() + stderr
    expect(output).toMatch(/left open after the tests:\n +descriptor socket:.* tcp port \d+, listening/)
    expect(output).toMatch(/Tests.*1 passed/)
    expect(code).toBe(1)
  })

  it('the leak check ends every file whose tests open sockets', async () => {
    const without: string[] = []
    for (const directory of WITH_SOCKETS)
      for (const name of await readdir(join(ROOT, 'test', directory))) {
        if (!name.endsWith('.test.ts')) continue
        const text = await readFile(join(ROOT, 'test', directory, name), 'utf8')
        if (!text.endsWith(LAST_LINE)) without.push(`${directory}/${name}`)
      }
    expect(without).toEqual(WITHOUT)
  })
})
