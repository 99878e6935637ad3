import { describe, expect, it } from 'vitest'
import { parseCommand } from '../../../src/cli/arguments.ts'
import { UsageError } from '../../../src/cli/terminal.ts'

const parse = (line: string) => parseCommand(line.split(' ').filter((word) => word !== ''))

const SERVE = {
  kind: 'serve',
  vpn: 'v',
  hosts: 'h',
  level: 'info',
  logfile: undefined,
  jobs: undefined,
  warnings: [],
}
const EXPORT = {
  kind: 'export',
  vpn: 'v',
  hosts: 'h',
  username: 'u',
  addresses: ['a'],
  format: 'deeplink',
  customSni: undefined,
  clientRandomPrefix: undefined,
  clientRandomPskKey: undefined,
  generate: undefined,
  name: undefined,
  dnsUpstreams: [],
  hintAfterLink: false,
}

describe('both command lines', () => {
  it.each([
    ['serve v h', SERVE],
    ['trusttunnel_endpoint v h', SERVE],
    ['trusttunnel_endpoint -l debug v h --logfile f', { ...SERVE, level: 'debug', logfile: 'f' }],
    ['serve v --loglvl=TRACE h', { ...SERVE, level: 'trace' }],
    ['serve v h --jobs 4', { ...SERVE, jobs: 4 }],
    ['export u -a a v h', EXPORT],
    ['trusttunnel_endpoint v h -c u -a a', { ...EXPORT, hintAfterLink: true }],
    [
      'trusttunnel_endpoint v h --client_config u --address a -a b -f toml -s sni -r aabb -n Name -d 1.1.1.1 -d 8.8.8.8 --client-random-psk-key 00',
      {
        ...EXPORT,
        addresses: ['a', 'b'],
        format: 'toml',
        customSni: 'sni',
        clientRandomPrefix: 'aabb',
        clientRandomPskKey: '00',
        name: 'Name',
        dnsUpstreams: ['1.1.1.1', '8.8.8.8'],
        hintAfterLink: true,
      },
    ],
    [
      'export u -a a v h --generate-client-random-prefix --prefix-length 8 --prefix-percent 50',
      { ...EXPORT, generate: { bytes: 8, percent: 50, mask: undefined } },
    ],
    [
      'export u -a a v h --generate-client-random-prefix --prefix-mask ff00ff00',
      { ...EXPORT, generate: { bytes: 4, percent: 70, mask: 'ff00ff00' } },
    ],
    ['try', { kind: 'try', level: 'warn' }],
    ['config', { kind: 'config', file: 'vpn.toml' }],
    ['config hosts', { kind: 'config', file: 'hosts' }],
    ['', { kind: 'help', program: 'culvert' }],
    ['serve --help', { kind: 'help', program: 'culvert' }],
    ['-v', { kind: 'version', program: 'culvert' }],
    ['trusttunnel_endpoint -v', { kind: 'version', program: 'trusttunnel_endpoint' }],
    ['trusttunnel_endpoint --version', { kind: 'version', program: 'trusttunnel_endpoint' }],
  ])('both command lines understand %s', (line, expected) => {
    expect(parse(line)).toEqual(expected)
  })

  it('both command lines warn of options that change nothing', () => {
    expect(parse('trusttunnel_endpoint v h --sentry_dsn https://x')).toMatchObject({
      warnings: ['--sentry_dsn: nothing is reported anywhere'],
    })
  })

  it.each([
    ['unknown', 'unknown command "unknown"'],
    ['serve', 'two files'],
    ['serve v', 'two files'],
    ['serve v h x', 'unexpected argument "x"'],
    ['serve v h -q', '-q'],
    ['serve v h -l loud', '--loglvl is one of'],
    ['serve v h --jobs many', '--jobs is a number'],
    ['serve v h --jobs 0', '--jobs is a number'],
    ['serve v h -c u', '-c'],
    ['export', 'which user'],
    ['export u v h', '--address'],
    ['export u v h -a a -f pdf', '--format'],
    ['export u v h -a a -r aa --generate-client-random-prefix', 'exclude'],
    ['export u v h -a a --generate-client-random-prefix --prefix-length 33', '1 to 32'],
    ['export u v h -a a --generate-client-random-prefix --prefix-percent 0', '1 to 100'],
    ['trusttunnel_endpoint', 'two files'],
    ['try v', 'no files'],
  ])('both command lines refuse %s', (line, message) => {
    expect(() => parse(line)).toThrow(UsageError)
    expect(() => parse(line)).toThrow(message)
  })
})
