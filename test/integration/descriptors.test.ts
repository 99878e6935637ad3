/**
 * One user opens tunnels until the process has no descriptor left. Then nobody else could connect, strangers got no
 * page, and a reload could not read its files.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { OPEN_EDGE, USER } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { openEcho } from '../support/targets.ts'

const LIMIT = 400
const WANTED = 600
/** Some of the limit is the endpoint's own, some is held back, and one user may have half of the rest. */
const AT_LEAST = 120
const AT_MOST = 200
const THIRD_USER = { username: 'third', password: 'another' }
const SECOND_USER = { username: 'second', password: 'other' }

it('a user who takes all tunnels that there can be locks out neither clients, nor strangers, nor a reload', async () => {
  await using echo = await openEcho()
  await using endpoint = await EndpointProcess.start({
    descriptors: LIMIT,
    tables: OPEN_EDGE,
    credentials: [USER, SECOND_USER, THIRD_USER]
      .map(({ username, password }) => `[[client]]\nusername = "${username}"\npassword = '${password}'\n`)
      .join(''),
  })
  await using greedy = await H2Client.open({ port: endpoint.port, ...USER })
  const answers = await Promise.all(
    Array.from({ length: WANTED }, () => greedy.connect(echo.authority).then(({ status }) => status)),
  )
  const granted = answers.filter((status) => status === 200).length
  expect(granted).toBeGreaterThan(AT_LEAST)
  expect(granted).toBeLessThan(AT_MOST)
  expect(answers.filter((status) => status === 429).length).toBe(WANTED - granted)

  const stranger = connectTls({ port: endpoint.port, servername: 'vpn.endpoint', rejectUnauthorized: false })
  await once(stranger, 'secureConnect')
  stranger.write('GET / HTTP/1.1\r\nhost: vpn.endpoint\r\nconnection: close\r\n\r\n')
  expect((await readAll(stranger)).toString()).toMatch(/^HTTP\/1\.1 200 /)
  await using other = await H2Client.open({ port: endpoint.port, ...SECOND_USER })
  const { status, stream } = await other.connect(echo.authority)
  expect(status).toBe(200)
  stream.destroy()
  endpoint.program.signal('SIGHUP')
  await endpoint.program.output(/"configuration reloaded"/)

  await using greedier = await H2Client.open({ port: endpoint.port, ...THIRD_USER })
  const more = await Promise.all(
    Array.from({ length: WANTED }, () => greedier.connect(echo.authority).then((answer) => answer.status)),
  )
  // Together they have taken everything there is for targets; the reserve is for these.
  expect(more.filter((one) => one === 429).length).toBeGreaterThan(0)
  await using late = await H2Client.open({ port: endpoint.port, ...SECOND_USER })
  expect((await late.connect('_check')).status).toBe(200)
  endpoint.program.signal('SIGHUP')
  await endpoint.program.output(/"configuration reloaded"[^]*"configuration reloaded"/)

  await Promise.all([greedy, greedier].map((client) => client[Symbol.asyncDispose]()))
  await expect.poll(() => echo.sockets.size).toBe(0)
})

const COUNT_WITHOUT_ANY = `
import { closeSync, openSync } from 'node:fs'
import { systemClock as clock } from './src/clock.ts'
import { Counters } from './src/counters.ts'
import { countDescriptors, DescriptorReserve, readDescriptorLimit } from './src/lane/descriptors.ts'
let tick
const reserve = new DescriptorReserve({
  clock: { ...clock, every: (_period, run) => ((tick = run), { cancel() {} }) },
  counters: new Counters(),
  counted: { set: () => {}, total: () => 0 },
  limit: readDescriptorLimit(),
  count: countDescriptors,
})
const held = []
try {
  for (;;) held.push(openSync('/dev/null'))
} catch {}
tick()
const full = reserve.mayAccept()
held.forEach((fd) => closeSync(fd))
tick()
console.log(JSON.stringify([full, reserve.mayAccept()]))`

/** Counting them takes one, and the failure used to end the process from within a timer. */
it('a process without a single descriptor left accepts nobody, and goes on when it has some again', async () => {
  const { stdout } = await promisify(execFile)(
    'sh',
    ['-c', 'ulimit -n 128; exec "$0" --input-type=module -e "$1"', process.execPath, COUNT_WITHOUT_ANY],
    { cwd: join(import.meta.dirname, '../..') },
  )
  expect(JSON.parse(stdout)).toEqual([false, true])
})

expectNothingLeftOpen()
