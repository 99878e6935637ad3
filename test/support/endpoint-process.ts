/**
 * The endpoint as a process of its own, started the way operators of the reference endpoint do, for tests of its memory
 * and its end.
 */
import { mkdtemp, readFile, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeEndpointFiles } from './endpoint.ts'
import type { EndpointOptions } from './endpoint.ts'
import { Program } from './program.ts'

const LISTENING = /"address":"127\.0\.0\.1:(\d+)".*"listening"/

export class EndpointProcess implements AsyncDisposable {
  readonly port: number
  readonly program: Program
  readonly #directory: string

  private constructor(program: Program, port: number, directory: string) {
    this.program = program
    this.port = port
    this.#directory = directory
  }

  /** Resolves when connections are accepted. */
  static async start(
    options: EndpointOptions & { descriptors?: number; listen?: string } = {},
  ): Promise<EndpointProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-process-'))
    const { vpn, hosts } = await writeEndpointFiles(directory, options, options.listen)
    const program = new Program('trusttunnel_endpoint', [vpn, hosts, '--jobs', String(options.lanes ?? 1)], {
      cwd: directory,
      // Whatever it cannot remove when it is killed is removed with the rest.
      env: { TMPDIR: directory },
      descriptors: options.descriptors,
    })
    try {
      const [, port] = await program.output(LISTENING)
      return new EndpointProcess(program, Number(port), directory)
    } catch (error) {
      await program[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Resident memory now and at its highest, in MiB (proc(5)). */
  async memory(): Promise<{ now: number; peak: number }> {
    const status = await readFile(`/proc/${this.program.pid}/status`, 'utf8')
    const mib = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN) / 1024
    return { now: mib('VmRSS'), peak: mib('VmHWM') }
  }

  /** Descriptors that are sockets. */
  async sockets(): Promise<number> {
    const directory = `/proc/${this.program.pid}/fd`
    const links = (await readdir(directory)).map((fd) => readlink(join(directory, fd)).catch(() => ''))
    return (await Promise.all(links)).filter((link) => link.startsWith('socket:')).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]()
    await rm(this.#directory, { recursive: true })
  }
}
