/** `/etc/hosts` (hosts(5)): names for which the operator sets the addresses. Read again when it changes. */
import { readFile, stat } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import { parseIpAddress, type IpAddress } from '../wire/ip-address.ts'

/** How long a change of the file may go unnoticed. */
const CHECK_EVERY_MS = 5000

/** Addresses by lower-case name, in the file's order. */
export function parseHosts(text: string): Map<string, IpAddress[]> {
  const hosts = new Map<string, IpAddress[]>()
  for (const line of text.split('\n')) {
    const [addressText = '', ...names] = line.replace(/#.*$/, '').trim().split(/\s+/)
    const address = parseIpAddress(addressText)
    if (address === undefined) continue
    for (const name of names) {
      const key = name.toLowerCase()
      const known = hosts.get(key)
      if (known === undefined) hosts.set(key, [address])
      else known.push(address)
    }
  }
  return hosts
}

export class HostsFile {
  readonly #path: string
  readonly #clock: Clock
  #hosts = new Map<string, IpAddress[]>()
  #version = ''
  #checkedAt = -Infinity
  #reading: Promise<void> | undefined

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
  }

  /** What the file says about `name` (lower case, no final dot). A file that cannot be read counts as empty. */
  async lookup(name: string): Promise<readonly IpAddress[] | undefined> {
    if (this.#clock.now() - this.#checkedAt >= CHECK_EVERY_MS) {
      this.#reading ??= this.#refresh().finally(() => (this.#reading = undefined))
      await this.#reading
    }
    return this.#hosts.get(name)
  }

  async #refresh(): Promise<void> {
    try {
      const { mtimeMs, size } = await stat(this.#path)
      const version = `${mtimeMs} ${size}`
      if (version !== this.#version) {
        this.#hosts = parseHosts(await readFile(this.#path, 'utf8'))
        this.#version = version
      }
    } catch {
      this.#hosts.clear()
      this.#version = ''
    }
    this.#checkedAt = this.#clock.now()
  }
}
