/** What clients of the soak do, one stream at a time. Each rejects when something is not as it should be. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { UdpDownlinkDecoder } from '../../src/wire/udp-frame.ts'
import type { Random } from '../support/random.ts'
import { readAll } from '../support/reading.ts'
import { udpFrame } from '../support/udp-client.ts'
import { USER } from './soak-endpoint.ts'
import { drain } from './soak-sessions.ts'
import type { SoakSession } from './soak-sessions.ts'
import { expectContent, sendContent } from './soak-targets.ts'
import type { SoakTargets } from './soak-targets.ts'

export interface Scene {
  readonly session: SoakSession
  readonly targets: SoakTargets
  readonly random: Random
}

type Operation = (scene: Scene) => Promise<void>

const KIB = 1024
const MIB = 1024 * KIB
const DATAGRAMS = 16
/** Loopback loses datagrams when a core is late; what is lost is asked for again. */
const DATAGRAM_PATIENCE_MS = 1000

async function open({ session }: Scene, authority: string): Promise<Duplex> {
  const { status, stream } = await session.connect(authority, USER)
  expectEqual(status, 200)
  return stream
}

function expectEqual(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${String(actual)} instead of ${String(expected)}`)
}

const closed = (stream: Duplex): Promise<unknown> | undefined =>
  stream.closed ? undefined : new Promise((resolve) => stream.once('close', resolve))

async function echo(scene: Scene, bytes: number): Promise<void> {
  const stream = await open(scene, scene.targets.echo)
  await Promise.all([sendContent(stream, bytes), expectContent(stream, bytes)])
}

async function download(scene: Scene, bytes: number): Promise<void> {
  const stream = await open(scene, scene.targets.source)
  stream.write(`${bytes}\n`)
  await expectContent(stream, bytes)
  stream.end()
}

async function upload(scene: Scene, bytes: number): Promise<void> {
  const stream = await open(scene, scene.targets.sink)
  const answer = readAll(stream)
  await sendContent(stream, bytes)
  expectEqual((await answer).toString(), String(bytes))
}

/** Reads in small steps with pauses. */
async function readSlowly(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.source)
  stream.write(`${2 * MIB}\n`)
  const done = expectContent(stream, 2 * MIB)
  const pause = (): void => {
    stream.pause()
    setTimeout(() => stream.resume(), 20)
  }
  stream.on('data', pause)
  await done
  stream.end()
}

async function stall(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.source)
  stream.write(`${64 * MIB}\n`)
  await sleep(2000 + scene.random.below(5000))
  stream.destroy()
}

async function resetInTheMiddle(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.echo)
  void sendContent(stream, 16 * MIB)
  await once(stream, 'data')
  stream.destroy()
}

async function meetReset(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.resetter)
  const end = closed(stream)
  stream.resume()
  stream.write('x')
  await end
}

async function outliveTarget(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.leaver)
  const goodbye = drain(stream)
  stream.write('hello')
  expectEqual(await goodbye, 'bye'.length)
  // Over TLS alone the end of one direction is that of both.
  if (stream.writable) await sendContent(stream, 64 * KIB)
}

async function rest(scene: Scene): Promise<void> {
  const stream = await open(scene, scene.targets.echo)
  await sleep(2000 + scene.random.below(18_000))
  const answer = readAll(stream)
  stream.end('still here')
  expectEqual((await answer).toString(), 'still here')
}

async function datagrams(scene: Scene): Promise<void> {
  const stream = await open(scene, '_udp2')
  const missing = new Set(Array.from({ length: DATAGRAMS }, (_, index) => `datagram ${index}`))
  let onAnswer = (): void => {}
  const decoder = new UdpDownlinkDecoder(({ payload }) => {
    missing.delete(payload.toString())
    onAnswer()
  })
  stream.on('data', (chunk: Buffer) => decoder.push(chunk))
  const target = { address: '127.0.0.1', port: scene.targets.udp.port }
  for (let attempt = 0; missing.size > 0; attempt++) {
    if (attempt === 5) throw new Error(`${missing.size} datagrams have no answer`)
    for (const payload of missing) stream.write(udpFrame(target, payload))
    const all = new Promise<void>((resolve) => (onAnswer = () => void (missing.size === 0 && resolve())))
    await Promise.race([all, sleep(DATAGRAM_PATIENCE_MS)])
  }
  stream.end()
}

async function check({ session }: Scene): Promise<void> {
  const { status, stream } = await session.connect('_check', USER)
  expectEqual(status, 200)
  stream.end()
  stream.resume()
}

async function useWrongPassword({ session }: Scene): Promise<void> {
  const { status, stream } = await session.connect('_check', { ...USER, password: 'wrong' })
  expectEqual(status, 407)
  stream.resume()
}

async function meetRefusal(scene: Scene): Promise<void> {
  const { status, stream } = await scene.session.connect(scene.targets.closed, USER)
  expectEqual(status, 502)
  stream.resume()
}

/** By name, with how often of all. */
export const OPERATIONS: readonly (readonly [name: string, weight: number, operation: Operation])[] = [
  ['echo', 20, (scene) => echo(scene, 1 + scene.random.below(256 * KIB))],
  ['download', 8, (scene) => download(scene, 1 + scene.random.below(4 * MIB))],
  ['upload', 8, (scene) => upload(scene, 1 + scene.random.below(4 * MIB))],
  ['slow reader', 2, readSlowly],
  ['stalled reader', 2, stall],
  ['reset', 6, resetInTheMiddle],
  ['target reset', 4, meetReset],
  ['target leaves', 4, outliveTarget],
  ['idle', 6, rest],
  ['udp', 6, datagrams],
  ['check', 10, check],
  ['wrong password', 3, useWrongPassword],
  ['refused', 3, meetRefusal],
]
