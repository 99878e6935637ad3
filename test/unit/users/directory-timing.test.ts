/**
 * The time of a refusal must not reveal whether a user exists. Measured at the place of the decision, even a difference
 * of 0.3 µs shows; `authentication.test.ts` measures again through a whole endpoint. The names are fixed and equally
 * long: a name that is sent over and over is read a little faster than a new one, whether or not it exists.
 */
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { Directory } from '../../../src/users/directory.ts'
import { encodeBasicAuth } from '../../../src/wire/basic-auth.ts'
import { areaUnderCurve, inRandomOrder } from '../../support/timing.ts'

const TRIES = 1000
const NOW = 1_700_000_000_000
const user = (username: string, former: string[] = []) => ({
  username,
  password: `password of ${username}`,
  aliases: former.map((password) => ({ username, password, validUntil: NOW * 2 })),
  maxTcpSessions: null,
  maxQuicSessions: null,
})

const directory = new Directory([
  user('premium'),
  user('rotated', ['one before', 'two before']),
  user('another'),
])

function measure(names: readonly string[]): Map<string, number[]> {
  const times = new Map(names.map((name) => [name, [] as number[]]))
  for (const name of inRandomOrder(names, TRIES)) {
    const header = encodeBasicAuth(name, randomBytes(8).toString('hex'))
    const startedAt = performance.now()
    directory.authenticate(header, NOW)
    times.get(name)?.push(performance.now() - startedAt)
  }
  return times
}

it.each(['premium', 'rotated'])('an unknown user takes as long as a wrong password of %s', (known) => {
  measure(['mallory', known])
  const times = measure(['mallory', known])
  const area = areaUnderCurve(times.get('mallory') ?? [], times.get(known) ?? [])
  expect(area).toBeGreaterThan(0.42)
  expect(area).toBeLessThan(0.58)
})
