import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { getEventListeners } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostsFile, parseHosts } from '../../../src/egress/hosts-file.ts'
import { Resolver } from '../../../src/egress/resolver.ts'
import { ipBytes } from '../../../src/wire/ip-address.ts'
import { socketAddress } from '../../support/rules.ts'
import { DnsServer, type DnsAnswer, type DnsZone } from '../../support/dns-server.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const signal = new AbortController().signal
let directory: string
let hostsPath: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-hosts-'))
  hostsPath = join(directory, 'hosts')
  await writeFile(hostsPath, '192.0.2.9 listed.test Alias.Test # comment\n2001:db8::9\tlisted.test\n')
})
afterAll(() => rm(directory, { recursive: true }))

function answer(...addresses: string[]): DnsAnswer {
  return { addresses: addresses.map((address) => ipBytes(address) ?? new Uint8Array()) }
}

function open(
  dns: DnsServer,
  options: { ipv6?: boolean } = {},
): { resolver: Resolver; clock: FakeClock; resolve: (host: string) => Promise<string[]> } {
  const clock = new FakeClock()
  const resolver = new Resolver({
    ipv6: options.ipv6 ?? true,
    servers: [socketAddress(dns.server)],
    hostsPath,
    clock,
  })
  const resolve = async (host: string): Promise<string[]> =>
    (await resolver.resolve(host, { signal })).map(({ address }) => address)
  return { resolver, clock, resolve }
}

const both: DnsZone = (_name, family) =>
  family === 4 ? answer('192.0.2.1', '192.0.2.2', '192.0.2.3') : answer('2001:db8::1', '2001:db8::2')

describe('DNS', () => {
  it('the resolver asks for both families and takes them by turns, IPv6 first', async () => {
    await using dns = await DnsServer.open(both)
    const { resolve, clock } = open(dns)
    expect(await resolve('Name.Test.')).toEqual([
      '2001:db8::1',
      '192.0.2.1',
      '2001:db8::2',
      '192.0.2.2',
      '192.0.2.3',
    ])
    expect(dns.questions.toSorted()).toEqual(['4 name.test', '6 name.test'])
    expect(clock.pending).toBe(0)
  })

  it('the resolver asks for IPv4 alone without IPv6', async () => {
    await using dns = await DnsServer.open(both)
    const { resolve } = open(dns, { ipv6: false })
    expect(await resolve('name.test')).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    expect(await resolve('listed.test')).toEqual(['192.0.2.9'])
    expect(await resolve('localhost')).toEqual(['127.0.0.1'])
    expect(dns.questions).toEqual(['4 name.test'])
  })

  it.each([4, 6] as const)('the resolver does without family %i when its question fails', async (failing) => {
    await using dns = await DnsServer.open((name, family) =>
      family === failing ? { rcode: 2 } : both(name, family),
    )
    const { resolve } = open(dns)
    expect((await resolve('name.test')).every((address) => address.includes(':') === (failing === 4))).toBe(
      true,
    )
  })

  it('the resolver waits a moment for the slower family, not longer', async () => {
    const release = Promise.withResolvers<void>()
    await using dns = await DnsServer.open((name, family) =>
      family === 6 ? { ...answer('2001:db8::1'), after: release.promise } : both(name, family),
    )
    const { resolve, clock } = open(dns)
    const first = resolve('name.test')
    while (clock.pending === 0) await new Promise(setImmediate)
    clock.advance(49)
    clock.advance(1)
    expect(await first).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    expect(clock.pending).toBe(0)
    // The late answer is used from then on.
    release.resolve()
    expect((await resolve('name.test')).slice(0, 2)).toEqual(['2001:db8::1', '192.0.2.1'])
  })

  it('the resolver fails with target_refused for names that do not exist and servers that fail', async () => {
    await using dns = await DnsServer.open((name) => (name === 'broken.test' ? { rcode: 2 } : { rcode: 3 }))
    const { resolve } = open(dns)
    const refused = expect.objectContaining({ code: 'target_refused' })
    await expect(resolve('missing.test')).rejects.toEqual(refused)
    await expect(resolve('broken.test')).rejects.toEqual(refused)
    dns.questions.length = 0
    await expect(resolve('name.invalid')).rejects.toEqual(refused)
    await expect(resolve('missing.test')).rejects.toEqual(refused)
    expect(dns.questions).toEqual([])
    await expect(resolve('broken.test')).rejects.toEqual(refused)
    expect(dns.questions.length).toBeGreaterThan(0)
  })

  it('the resolver remembers an answer for its time to live, at most a minute', async () => {
    let ttlSecs = 10
    await using dns = await DnsServer.open(() => ({ ...answer('192.0.2.1'), ttlSecs }))
    const { resolve, clock } = open(dns, { ipv6: false })
    const questionsAfter = async (ms: number): Promise<number> => {
      clock.advance(ms)
      await resolve('name.test')
      return dns.questions.length
    }
    expect(await questionsAfter(0)).toBe(1)
    expect(await questionsAfter(9999)).toBe(1)
    ttlSecs = 86_400
    expect(await questionsAfter(1)).toBe(2)
    expect(await questionsAfter(59_999)).toBe(2)
    ttlSecs = 0
    expect(await questionsAfter(1)).toBe(3)
    expect(await questionsAfter(0)).toBe(4)
  })

  it('the resolver asks once for equal questions in flight, and lets a caller give up', async () => {
    const release = Promise.withResolvers<void>()
    await using dns = await DnsServer.open(() => ({ ...answer('192.0.2.1'), after: release.promise }))
    const { resolver, resolve } = open(dns, { ipv6: false })
    const abort = new AbortController()
    const given = resolver.resolve('name.test', { signal: abort.signal })
    const waiting = [resolve('name.test'), resolve('NAME.test')]
    await dns.asked(1)
    abort.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0)
    release.resolve()
    expect(await Promise.all(waiting)).toEqual([['192.0.2.1'], ['192.0.2.1']])
    expect(dns.questions).toEqual(['4 name.test'])
    await expect(resolver.resolve('name.test', { signal: abort.signal })).rejects.toThrow('enough')
  })

  it('the resolver keeps a bounded number of answers', async () => {
    await using dns = await DnsServer.open(() => answer('192.0.2.1'))
    const { resolve } = open(dns, { ipv6: false })
    await resolve('first.test')
    for (let index = 0; index < 4096; index += 128) {
      await Promise.all(Array.from({ length: 128 }, (_, each) => resolve(`n${index + each}.test`)))
    }
    const before = dns.questions.length
    await resolve('n4095.test')
    expect(dns.questions.length).toBe(before)
    await resolve('first.test')
    expect(dns.questions.length).toBe(before + 1)
  })
})

describe('names that DNS is not asked for', () => {
  it('the resolver knows the hosts file and localhost', async () => {
    await using dns = await DnsServer.open(() => undefined)
    const { resolve } = open(dns)
    expect(await resolve('listed.test')).toEqual(['2001:db8::9', '192.0.2.9'])
    expect(await resolve('ALIAS.test')).toEqual(['192.0.2.9'])
    expect(await resolve('localhost')).toEqual(['::1', '127.0.0.1'])
    expect(await resolve('a.b.localhost')).toEqual(['::1', '127.0.0.1'])
    expect(dns.questions).toEqual([])
  })

  it('the resolver reads the hosts file again when it has changed', async () => {
    const path = join(directory, 'changing')
    await writeFile(path, '192.0.2.1 name\n')
    const clock = new FakeClock()
    const hosts = new HostsFile(path, clock)
    const lookup = async (): Promise<string | undefined> => (await hosts.lookup('name'))?.[0]?.address
    expect(await lookup()).toBe('192.0.2.1')
    await writeFile(path, '192.0.2.2 name\n')
    await utimes(path, 1, 1)
    expect(await lookup()).toBe('192.0.2.1')
    clock.advance(5000)
    expect(await lookup()).toBe('192.0.2.2')
    await rm(path)
    clock.advance(5000)
    expect(await lookup()).toBeUndefined()
  })

  it('the resolver skips lines that name no address', () => {
    const hosts = parseHosts(
      '# all\nnonsense name\n\n  127.0.1.1\tone two  three\nfe80::1%eth0 zoned\n::1 one\r\n',
    )
    expect([...hosts.keys()]).toEqual(['one', 'two', 'three'])
    expect(hosts.get('one')?.map(({ address }) => address)).toEqual(['127.0.1.1', '::1'])
  })
})
