/** The executables as an operator uses them: exit codes, signals, the log, and the two commands of the README. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { decodeDeepLink } from '../../src/wire/deep-link.ts'
import { ConfigDirectory, CREDENTIALS, VPN } from '../support/config-directory.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing } from '../support/outside-program.ts'
import { Program } from '../support/program.ts'

const ANY_PORT = VPN.replace(':8443', ':0')
const LISTENING = /"address":"127\.0\.0\.1:(\d+)".*"listening"/

function messages(log: string): string[] {
  return log
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)
}

describe('commands that end by themselves', () => {
  it.each([
    ['culvert', ['--version'], 0, /^culvert \d+\.\d+\.\d+\n$/],
    ['trusttunnel_endpoint', ['-v'], 0, /^trusttunnel_endpoint \d+\.\d+\.\d+\n$/],
    ['culvert', ['--help'], 0, /culvert try/],
    ['culvert', ['config', 'hosts.toml'], 0, /\[\[main_hosts\]\]/],
  ] as const)('culvert ends by itself with %s %j', async (name, args, code, output) => {
    await using program = new Program(name, args)
    expect(await program.finished).toMatchObject({ code, stdout: expect.stringMatching(output), stderr: '' })
  })

  it.each([
    ['culvert', ['nonsense'], /unknown command/],
    ['culvert', ['serve', 'only-one'], /two files/],
    ['trusttunnel_endpoint', ['a', 'b', '--nonsense'], /^Unknown option '--nonsense'\nculvert --help /],
  ] as const)('a wrong command line ends with 2: %s %j', async (name, args, output) => {
    await using program = new Program(name, args)
    expect(await program.finished).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(output),
    })
  })

  it('a wrong configuration ends with 2 and names everything at once', async () => {
    using directory = new ConfigDirectory({
      'vpn.toml': `ipv6_available = 7\nlisten_adress = 1\n${VPN}`,
      'hosts.toml': '',
      'credentials.toml': '[[client]]\nusername = "a"\npassword = "hunter2',
    })
    await using program = new Program('trusttunnel_endpoint', ['vpn.toml', 'hosts.toml'], {
      cwd: directory.path,
    })
    const { code, stdout, stderr } = await program.finished
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.trim().split('\n')).toEqual([
      'warning: vpn.toml: listen_adress: unknown key, ignored; the nearest known key is listen_address',
      'error: vpn.toml: ipv6_available: 7 is not allowed; allowed is true or false',
      expect.stringMatching(/^error: .*credentials\.toml: Invalid credentials file: line 3, column \d+: /),
      'error: hosts.toml: main_hosts: Invalid main TLS hosts: Not set',
    ])
    expect(stderr).not.toContain('hunter2')
  })

  it('both command lines export the same link, which decodes; ours has the hint apart from it', async () => {
    using directory = new ConfigDirectory()
    const options = { cwd: directory.path }
    const files = ['vpn.toml', 'hosts.toml']
    await using ours = new Program('culvert', ['export', 'alice', '-a', '203.0.113.1', ...files], options)
    await using theirs = new Program(
      'trusttunnel_endpoint',
      [...files, '-c', 'alice', '-a', '203.0.113.1', '-f', 'deeplink'],
      options,
    )
    const { code, stdout, stderr } = await ours.finished
    const hint = /^To connect .*https:\/\/trusttunnel\.org\/qr\.html#tt=\S+\n$/m
    expect([code, stderr]).toEqual([0, expect.stringMatching(hint)])
    expect(await theirs.finished).toMatchObject({ code, stdout: stdout + hint.exec(stderr)?.[0], stderr: '' })
    const [link = '', rest] = stdout.split('\n')
    expect(decodeDeepLink(link)).toMatchObject({ username: 'alice', addresses: ['203.0.113.1:8443'] })
    expect(rest).toBe('')
  })

  it('an export that makes a random prefix warns that QUIC is denied with it, where QUIC is on', async () => {
    const vpn = `rules_file = "rules.toml"\n${VPN}`
    const warning = /warning: the new rule .*every QUIC connection is denied/
    for (const [tables, expected] of [
      ['', expect.not.stringMatching(warning)],
      ['[listen_protocols.quic]\n', expect.stringMatching(warning)],
    ]) {
      using directory = new ConfigDirectory({ 'vpn.toml': vpn + tables, 'rules.toml': '' })
      const args = ['export', 'alice', '-a', '203.0.113.1', '--generate-client-random-prefix']
      const files = ['vpn.toml', 'hosts.toml']
      await using program = new Program('culvert', [...args, ...files], { cwd: directory.path })
      expect(await program.finished).toMatchObject({ code: 0, stderr: expected })
    }
  })

  it.each([
    ['an unknown user', ['export', 'bob', '-a', '203.0.113.1'], /no user "bob"/],
    ['an unknown SNI', ['export', 'alice', '-a', '203.0.113.1', '-s', 'other'], /allowed_sni/],
  ])('an export for %s ends with 1', async (_, args, message) => {
    using directory = new ConfigDirectory()
    await using program = new Program('culvert', [...args, 'vpn.toml', 'hosts.toml'], { cwd: directory.path })
    expect(await program.finished).toMatchObject({ code: 1, stderr: expect.stringMatching(message) })
  })
})

describe('culvert serve', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('culvert serve ends in order on %s, with 0', async (signal) => {
    using directory = new ConfigDirectory({ 'vpn.toml': ANY_PORT })
    await using program = new Program('culvert', ['serve', directory.vpn, directory.hosts])
    await program.output(LISTENING)
    program.signal(signal)
    const { code, stdout } = await program.finished
    expect([code, messages(stdout).at(-1)]).toEqual([0, 'ended'])
    expect(stdout).not.toContain('s3cret')
  })

  it('culvert serve lets an open tunnel go on after a signal, and ends it after a second one', async () => {
    await using target = await echo()
    using directory = new ConfigDirectory({
      'vpn.toml': `${ANY_PORT}[listen_protocols.http1]\n[culvert]\nshutdown_grace_secs = 3600\n[culvert.egress]\nallow = ["127.0.0.1:${target.port}"]`,
    })
    await using program = new Program('culvert', ['serve', directory.vpn, directory.hosts])
    const [, port] = await program.output(LISTENING)
    const tunnel = connect({
      port: Number(port),
      host: '127.0.0.1',
      servername: 'vpn.endpoint',
      ca: directory.certificate,
    })
    const credentials = Buffer.from('alice:s3cret').toString('base64')
    tunnel.write(
      `CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\nproxy-authorization: Basic ${credentials}\r\n\r\n`,
    )
    expect(String(await once(tunnel, 'data'))).toMatch(/^HTTP\/1\.1 200 /)
    program.signal('SIGTERM')
    await program.output(/"ending"/)
    tunnel.write('still here')
    expect(String(await once(tunnel, 'data'))).toBe('still here')
    const gone = new Promise((resolve) => tunnel.on('error', () => {}).once('close', resolve))
    program.signal('SIGTERM')
    await gone
    expect((await program.finished).code).toBe(0)
  })

  it('culvert serve reads everything again on SIGHUP, or refuses as a whole', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': ANY_PORT })
    await using program = new Program('trusttunnel_endpoint', [directory.vpn, directory.hosts])
    await program.output(LISTENING)
    directory.write('credentials.toml', `${CREDENTIALS}${CREDENTIALS.replace('alice', 'bob')}`)
    program.signal('SIGHUP')
    await program.output(/"users":2/)
    directory.write('credentials.toml', '[[client]]\nusername = "x"')
    program.signal('SIGHUP')
    const [line] = await program.output(/.*configuration refused.*/)
    expect(JSON.parse(line)).toMatchObject({
      code: 'config_invalid',
      problems: [expect.stringContaining('client[0].password: is required')],
    })
    directory.write('credentials.toml', '')
    program.signal('SIGHUP')
    await program.output(/no \[\[client\]\] is in this file/)
    program.signal('SIGTERM')
    expect((await program.finished).code).toBe(0)
  })

  it('culvert serve logs to a file, and to a new one after it was moved away', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': ANY_PORT })
    const log = join(directory.path, 'endpoint.log')
    const args = [directory.vpn, directory.hosts, '--logfile', log, '--sentry_dsn', 'x', '--jobs', '2']
    await using program = new Program('trusttunnel_endpoint', args)
    await until(() => existsSync(log) && readFileSync(log, 'utf8').includes('"listening"'))
    renameSync(log, `${log}.1`)
    program.signal('SIGHUP')
    await until(() => existsSync(log) && readFileSync(log, 'utf8').includes('configuration reloaded'))
    program.signal('SIGTERM')
    expect(await program.finished).toEqual({ code: 0, stdout: '', stderr: '' })
    const old = readFileSync(`${log}.1`, 'utf8')
    expect(messages(old)).toContain('--sentry_dsn: nothing is reported anywhere')
    expect(old).toContain('"lanes":2')
  })

  it('culvert serve goes on when nobody reads its log any more, and still ends in order', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': ANY_PORT })
    await using program = new Program('culvert', ['serve', directory.vpn, directory.hosts])
    await program.output(/"msg":"listening"/)
    program.closeOutput()
    // Each reload writes a line; the first one finds the reader gone.
    program.signal('SIGHUP')
    await new Promise((resolve) => setTimeout(resolve, 200))
    program.signal('SIGTERM')
    expect(await program.finished).toMatchObject({ code: 0, stderr: '' })
  })

  it('culvert serve names the changed keys that a reload does not put in force', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': ANY_PORT })
    await using program = new Program('culvert', ['serve', directory.vpn, directory.hosts])
    await program.output(/"msg":"listening"/)
    directory.write('vpn.toml', ANY_PORT.replace(':0', ':1'))
    program.signal('SIGHUP')
    await program.output(/"keys":\["listen_address"\],"msg":"these keys were changed and take a restart"/)
  })

  it('culvert serve ends with 1 when it cannot have its port', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': VPN.replace('127.0.0.1:8443', '192.0.2.1:443') })
    await using program = new Program('culvert', ['serve', directory.vpn, directory.hosts])
    const { code, stdout } = await program.finished
    expect([code, messages(stdout).at(-1)]).toEqual([1, expect.stringContaining('EADDRNOTAVAIL')])
  })
})

describe('culvert try', () => {
  it('culvert try prints a curl line that works, keeps to loopback, and permits nothing else there', async () => {
    const parent = mkdtempSync(join(tmpdir(), "culvert's try "))
    const env = { CULVERT_TRY_DIR: join(parent, 'here') }
    try {
      await using program = new Program('culvert', ['try'], { env })
      const [, line = '', page = ''] = await program.output(/^ {2}(curl -K .* (http:\S+))\n[^]*are in /m)
      const [, port = ''] = await program.output(/listens on 127\.0\.0\.1:(\d+)/)
      const [link] = await program.output(/tt:\/\/\?\S+/)
      expect((await shell(`${line} -sS`)).stdout).toBe('It works: this page came through culvert.\n')
      expect(decodeDeepLink(link).addresses).toEqual([`127.0.0.1:${port}`])

      const other = `${line.replace(page, `http://127.0.0.1:${port}/`)} -sS -o /dev/null -w '%{http_connect}'`
      await expect(shell(other)).rejects.toMatchObject({ stdout: '502' })
      const stranger = connectTcp({ host: '127.0.0.2', port: Number(port) })
      await expect(once(stranger, 'connect')).rejects.toThrow('ECONNREFUSED')

      program.signal('SIGINT')
      expect((await program.finished).code).toBe(0)
    } finally {
      rmSync(parent, { recursive: true })
    }
  })
})

/** As pasted, whatever the environment says about proxies. */
function shell(command: string) {
  return promisify(execFile)('sh', ['-c', command], { env: { ...process.env, NO_PROXY: '*' } })
}

const absent = missing('systemd-analyze')

describe('the systemd unit', () => {
  it.skipIf(absent.any)(`the systemd unit passes systemd-analyze verify${absent.note}`, async () => {
    const root = fileURLToPath(new URL('../../', import.meta.url))
    const directory = mkdtempSync(join(tmpdir(), 'culvert-unit-'))
    try {
      const unit = readFileSync(join(root, 'scripts/systemd/culvert.service'), 'utf8')
      const path = join(directory, 'culvert.service')
      // The verification looks for the program, which is in /opt/culvert only on a server.
      writeFileSync(path, unit.replace('ExecStart=/opt/culvert/', `ExecStart=${root}`))
      expect(await promisify(execFile)('systemd-analyze', ['verify', path])).toEqual({
        stdout: '',
        stderr: '',
      })
      expect(unit).toMatch(/^CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_RAW$/m)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

async function echo(): Promise<AsyncDisposable & { port: number }> {
  const server = createServer((socket) => void socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20))
}

expectNothingLeftOpen()
