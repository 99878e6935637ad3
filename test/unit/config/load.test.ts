import { mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ipPrefix } from '../../support/rules.ts'
import { ConfigDirectory, CREDENTIALS, HOSTS, VPN } from '../../support/config-directory.ts'

const PUBLIC = VPN.replace('127.0.0.1', '0.0.0.0')
const NO_USERS = VPN.replace(/^credentials_file.*$/m, '')
const BALANCER = '[culvert.edge]\nproxy_protocol_from = ["127.0.0.1"]\n'

function vpn(keys: string, tables = ''): Record<string, string> {
  return { 'vpn.toml': `${keys}\n${VPN}${tables}` }
}

describe('a valid configuration', () => {
  it('a valid configuration has the defaults, absolute paths and the contents of the certificates', async () => {
    using directory = new ConfigDirectory()
    const settings = await directory.load()
    expect(settings.vpn).toMatchObject({
      listen_address: { address: '127.0.0.1', family: 4, port: 8443 },
      tcp_connections_timeout_secs: 7200,
      udp_connections_timeout_secs: 120,
      client_listener_timeout_secs: 600,
      credentials_file: join(directory.path, 'credentials.toml'),
      rules_file: null,
      listen_protocols: { http1: null, quic: null, http2: { initial_connection_window_size: null } },
      culvert: { shutdown_grace_secs: 10, log: { privacy: 'no-targets' }, edge: { unknown_sni: 'decoy' } },
    })
    expect(settings.hosts.main_hosts).toMatchObject([
      {
        hostname: 'vpn.endpoint',
        cert_chain_path: join(directory.path, 'cert.pem'),
        allowed_sni: [],
        cert_chain: expect.stringContaining('BEGIN CERTIFICATE'),
        private_key: expect.stringContaining('BEGIN PRIVATE KEY'),
      },
    ])
    expect(settings.clients).toEqual([
      {
        username: 'alice',
        password: 's3cret',
        password_previous: null,
        previous_until: null,
        max_http2_conns: null,
        max_http3_conns: null,
        aliases: [],
      },
    ])
    const everything = { default_action: 'allow', rules: [] }
    expect(settings.rules).toEqual({ inbound: everything, outbound: everything })
    expect(settings.warnings).toEqual([])
  })

  it('a valid configuration can go to another thread', async () => {
    using directory = new ConfigDirectory()
    const settings = await directory.load()
    expect(structuredClone(settings)).toEqual(settings)
  })

  it('a valid configuration obeys timeouts that the file sets', async () => {
    using directory = new ConfigDirectory(vpn('tcp_connections_timeout_secs = 604800'))
    expect((await directory.load()).vpn.tcp_connections_timeout_secs).toBe(604_800)
  })
})

describe('problems of vpn.toml', () => {
  const wrong: [string, Record<string, string>, string[]][] = [
    [
      'an unset address',
      { 'vpn.toml': PUBLIC.replace('8443', '0') },
      ['listen_address: Listen address is not set'],
    ],
    [
      'no protocol',
      { 'vpn.toml': VPN.replace('[listen_protocols.http2]', '') },
      [
        'listen_protocols: Invalid listen protocols settings: Not set; at least one of http1, http2 and quic is needed',
      ],
    ],
    [
      'no credentials in public',
      { 'vpn.toml': NO_USERS.replace('127.0.0.1', '192.0.2.1') },
      [
        'credentials_file: No credentials configured (credentials_file is missing) while listening on a public address. This is a security risk. Either configure credentials or use a loopback address (127.0.0.1 or ::1)',
      ],
    ],
    [
      'a name of the credentials that is none, and nothing is said about missing ones',
      { 'vpn.toml': `credentials_file = 7\n${NO_USERS.replace('127.0.0.1', '192.0.2.1')}` },
      ['credentials_file: 7 is not allowed; allowed is a path'],
    ],
    [
      'an unsupported status',
      vpn('auth_failure_status_code = 401\nnon_connect_auth_failure_status_code = 200'),
      [
        'auth_failure_status_code: Invalid auth_failure_status_code: 401. Supported values: 407, 405, 404, 403',
        'non_connect_auth_failure_status_code: Invalid non_connect_auth_failure_status_code: 200. Supported values: 407, 405, 404, 403',
      ],
    ],
    [
      'request paths',
      vpn('ping_enable = true\nping_path = ""'),
      ['ping_path: Invalid request path: ping_path: it is empty'],
    ],
    [
      'overlapping request paths',
      vpn('ping_enable = true\nspeedtest_enable = true\nping_path = "/speedtest/p"'),
      ['ping_path: Invalid request path: ping_path "/speedtest/p" and speedtest_path "/speedtest" overlap'],
    ],
    [
      'a reverse proxy to nowhere',
      vpn('', '[reverse_proxy]\nserver_address = "0.0.0.0:0"\npath_mask = "app"'),
      [
        'reverse_proxy.server_address: Invalid reverse proxy settings: Server address is not set',
        'reverse_proxy.path_mask: Invalid reverse proxy settings: Invalid path mask: "app" does not start with "/"',
      ],
    ],
    [
      'two ways out',
      vpn('', '[forward_protocol]\ndirect = {}\nsocks5 = { address = "127.0.0.1:1080" }'),
      ['forward_protocol: Invalid forward protocol settings: direct and socks5 exclude each other'],
    ],
    [
      'a frame size',
      { 'vpn.toml': `${VPN}max_frame_size = 100` },
      ['listen_protocols.http2.max_frame_size: 100 is not allowed; allowed is 16384 to 16777215 bytes'],
    ],
    [
      'two decoys',
      vpn('', '[culvert.decoy]\nroot = "/"\norigin = "http://127.0.0.1:1"'),
      ['culvert.decoy: root and origin exclude each other'],
    ],
    [
      'a decoy that is not there',
      vpn('', '[culvert.decoy]\nroot = "/nowhere"'),
      ['culvert.decoy.root: /nowhere: no such file'],
    ],
    [
      'a decoy with a path of its own',
      vpn('', '[culvert.decoy]\norigin = "http://127.0.0.1:1/site"'),
      [expect.stringMatching(/^culvert\.decoy\.origin: .* is not allowed/)],
    ],
    [
      'a decoy with a password',
      vpn('', '[culvert.decoy]\norigin = "http://user:secret@127.0.0.1:1"'),
      [expect.stringMatching(/^culvert\.decoy\.origin: .* is not allowed/)],
    ],
    [
      'a pass without a server',
      vpn('', '[culvert.edge]\nunknown_sni = "pass"'),
      ['culvert.edge.unknown_sni: "pass" needs exactly one [[culvert.edge.pass]] with names = []'],
    ],
    [
      'TOML that is none',
      { 'vpn.toml': 'a = [' },
      [expect.stringMatching(/^Invalid settings file: line 1, column \d+: /)],
    ],
  ]

  it.each(wrong)('vpn.toml is refused: %s', async (_, files, expected) => {
    using directory = new ConfigDirectory(files)
    expect(await directory.problems()).toEqual(expected)
  })

  it('problems of vpn.toml come all at once, over all files, each with its file', async () => {
    using directory = new ConfigDirectory({
      ...vpn('ipv6_available = 1\nrules_file = "rules.toml"', '[culvert.udp]\nqueue_bytes = 1'),
      'hosts.toml': HOSTS.replace('cert.pem', 'none.pem'),
      'credentials.toml': '[[client]]\nusername = "a"',
      'rules.toml': '[[rule]]\ncidr = "300.0.0.0/8"\naction = "deny"',
    })
    expect(await directory.problems()).toEqual([
      'ipv6_available: 1 is not allowed; allowed is true or false',
      'culvert.udp.queue_bytes: 1 is not allowed; allowed is an integer of bytes, 65536 or more',
      `main_hosts[0]: Invalid main TLS hosts: Invalid cert chain: path='${resolve('none.pem')}', error='no such file'`,
      'client[0].password: is required: text that is not empty',
      'rule[0].cidr: "300.0.0.0/8" is not allowed; allowed is an address or CIDR, "192.0.2.0/24" or "2001:db8::/32"',
    ])
  })
})

describe('warnings of vpn.toml', () => {
  it('warnings of vpn.toml say why a key is gone', async () => {
    using directory = new ConfigDirectory({
      'vpn.toml': `${VPN}\n[culvert.http3]\nio_uring = true\nupload_memory_per_stream = 65536`,
    })
    expect(await directory.warnings()).toEqual([
      'culvert.http3.io_uring: is not a key any more, ignored: HTTP/3 always polls; with io_uring most packets left in the wrong order',
      'culvert.http3.upload_memory_per_stream: is not a key any more, ignored: upload_memory now bounds all uploads together',
    ])
  })

  it('warnings of vpn.toml tell of loopback without credentials', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': NO_USERS })
    expect(await directory.warnings()).toEqual([
      'credentials_file: No credentials configured: everybody on this machine may connect',
    ])
  })

  it('warnings of vpn.toml are one for all keys without effect', async () => {
    using directory = new ConfigDirectory({
      'vpn.toml': `${VPN}[metrics]\nper_client_metrics = true\n[listen_protocols.quic]\ncc_algorithm = "bbr"`,
    })
    expect(await directory.warnings()).toEqual([
      'keys without effect (not built yet: metrics; accepted for compatibility: listen_protocols.quic.cc_algorithm)',
    ])
  })

  it('vpn.toml knows the aliases of QUIC keys', async () => {
    using directory = new ConfigDirectory({
      'vpn.toml': `${VPN}[listen_protocols.quic]\nmax_streams_bidi = 7\nmax_streams_uni = 9`,
    })
    const { vpn: settings, warnings } = await directory.load()
    expect(settings.listen_protocols.quic).toMatchObject({
      initial_max_streams_bidi: 7,
      initial_max_streams_uni: 9,
    })
    // The library fixes the second, and the warning names the key that stands for it.
    expect(warnings.map(({ message }) => message).join()).toContain('initial_max_streams_uni')
    expect(warnings).toHaveLength(1)
  })
})

describe('hosts.toml', () => {
  it('hosts.toml needs a main host', async () => {
    using directory = new ConfigDirectory({ 'hosts.toml': '' })
    expect(await directory.problems()).toEqual(['main_hosts: Invalid main TLS hosts: Not set'])
  })

  it('hosts.toml has each name once over all lists, without regard to case', async () => {
    using directory = new ConfigDirectory({
      'hosts.toml': `${HOSTS}${HOSTS.replace('main_hosts', 'ping_hosts').replace('vpn.e', 'VPN.E')}`,
    })
    expect(await directory.problems()).toEqual([
      'ping_hosts[0].hostname: Invalid ping TLS hosts: Hostname must be unique: vpn.endpoint',
    ])
  })

  it('hosts.toml has its tables counted as they stand there, wrong ones included', async () => {
    const noName = HOSTS.replace(/^hostname.*\n/m, '')
    using directory = new ConfigDirectory({ 'hosts.toml': noName + HOSTS + HOSTS })
    expect(await directory.problems()).toEqual([
      'main_hosts[0].hostname: is required: a host name, also "*.example.org"',
      'main_hosts[2].hostname: Invalid main TLS hosts: Hostname must be unique: vpn.endpoint',
    ])
  })

  it('hosts.toml warns of a name that vpn.toml passes on', async () => {
    using directory = new ConfigDirectory(
      vpn('', '[[culvert.edge.pass]]\nnames = ["vpn.endpoint"]\nto = "127.0.0.1:1"'),
    )
    const { warnings } = await directory.load()
    expect(warnings).toEqual([
      {
        file: directory.vpn,
        path: 'culvert.edge.pass[0]',
        message: 'vpn.endpoint is a host here and is never passed on',
      },
    ])
  })
})

describe('credentials.toml', () => {
  it('credentials.toml must be there when it is named', async () => {
    using directory = new ConfigDirectory()
    rmSync(join(directory.path, 'credentials.toml'))
    expect(await directory.problems()).toEqual(['Invalid credentials file: no such file'])
  })

  it('credentials.toml is refused when it is not UTF-8', async () => {
    using directory = new ConfigDirectory()
    directory.write('credentials.toml', Buffer.from(CREDENTIALS.replace('alice', 'zo\xeb'), 'latin1'))
    expect(await directory.problems()).toEqual(['Invalid credentials file: it is not text in UTF-8'])
  })

  it('credentials.toml may not name a user twice', async () => {
    using directory = new ConfigDirectory({ 'credentials.toml': CREDENTIALS + CREDENTIALS })
    expect(await directory.problems()).toEqual(['client[1]: Username must be unique: alice'])
  })

  it('credentials.toml has its tables counted as they stand there, wrong ones included', async () => {
    const noPassword = '[[client]]\nusername = "x"\n'
    using directory = new ConfigDirectory({ 'credentials.toml': noPassword + CREDENTIALS + CREDENTIALS })
    expect(await directory.problems()).toEqual([
      'client[0].password: is required: text that is not empty',
      'client[2]: Username must be unique: alice',
    ])
  })

  it('credentials.toml whose users are all wrong is not called a file without users', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': PUBLIC, 'credentials.toml': '[client]' })
    expect(await directory.problems()).toEqual([
      'client: a table is not allowed; allowed is a list of tables, [[client]]',
    ])
  })

  it('credentials.toml is never quoted in an error', async () => {
    for (const broken of [
      'password = "hunter2',
      'password = hunter2',
      'password = "hunter2" hunter2',
      'password = ["hunter2"]',
      'password = { hunter2 = "hunter2" }',
      'password = "hunter2\\u0000"',
    ]) {
      using directory = new ConfigDirectory({ 'credentials.toml': `[[client]]\nusername = "a"\n${broken}` })
      const problems = await directory.problems()
      expect(problems).not.toEqual([])
      expect(problems.join('\n')).not.toContain('hunter2')
    }
  })

  it('credentials.toml gives the spellings of the reference endpoint as aliases', async () => {
    using directory = new ConfigDirectory({
      'credentials.toml': `[[client]]\nusername = 'a"b'\npassword = ' p"w '\n`,
    })
    const { clients, warnings } = await directory.load()
    expect(clients).toMatchObject([
      { username: 'a"b', password: ' p"w ', aliases: [{ username: 'ab', password: 'pw', validUntil: null }] },
    ])
    expect(warnings.map(({ path }) => path)).toEqual(['client[0]'])
  })

  it('credentials.toml splits a username at its colon as Basic does', async () => {
    using directory = new ConfigDirectory({
      'credentials.toml': '[[client]]\nusername = "a:b"\npassword = "c"\n',
    })
    expect((await directory.load()).clients[0]?.aliases).toEqual([
      { username: 'a', password: 'b:c', validUntil: null },
    ])
  })

  describe('with the password before', () => {
    const user = (...lines: string[]) =>
      ['[[client]]', 'username = "a"', 'password = "new"', ...lines].join('\n')

    it.each(['2999-12-31T23:00:00Z', '"2999-12-31T23:00:00Z"', '3000-01-01T00:00:00+01:00'])(
      'a former password lets both in until %s',
      async (until) => {
        const text = user('password_previous = "old"', `previous_until = ${until}`)
        using directory = new ConfigDirectory({ 'credentials.toml': text })
        const validUntil = Date.UTC(2999, 11, 31, 23)
        expect((await directory.load()).clients[0]?.aliases).toEqual([
          { username: 'a', password: 'old', validUntil },
        ])
      },
    )

    it('a former password stays when its time is over, for what it opened, with a warning', async () => {
      const text = user('password_previous = "old"', 'previous_until = 2001-01-01T00:00:00Z')
      using directory = new ConfigDirectory({ 'credentials.toml': text })
      const { clients, warnings } = await directory.load()
      expect(clients[0]?.aliases).toEqual([{ username: 'a', password: 'old', validUntil: Date.UTC(2001, 0) }])
      expect(warnings.map(({ message }) => message)).toEqual([
        'password_previous has ended on 2001-01-01T00:00:00.000Z and lets nobody in',
      ])
    })

    it.each([['password_previous = "old"'], ['previous_until = 2999-01-01T00:00:00Z']])(
      'a former password is refused without its time, and the time without it: %s',
      async (line) => {
        using directory = new ConfigDirectory({ 'credentials.toml': user(line) })
        expect(await directory.problems()).toEqual([
          'client[0]: password_previous and previous_until belong together',
        ])
      },
    )

    it.each(['2999-01-01', '2999-01-01T00:00:00.000', '"soon"', '1', '"2999-13-01T00:00:00Z"'])(
      'a former password is refused with %s as its time',
      async (until) => {
        const text = user('password_previous = "old"', `previous_until = ${until}`)
        using directory = new ConfigDirectory({ 'credentials.toml': text })
        expect(await directory.problems()).toEqual([
          `client[0].previous_until: ${until} is not allowed; allowed is a date and time with its offset, 2027-01-31T12:00:00Z`,
        ])
      },
    )
  })

  it.each([
    ['on loopback', VPN, '', ''],
    ['in public', PUBLIC, '', '# nobody\n'],
    ['behind a balancer', VPN, BALANCER, ''],
  ])('credentials.toml must name somebody: an empty file opens nothing %s', async (_, file, tables, text) => {
    using directory = new ConfigDirectory({ 'vpn.toml': file + tables, 'credentials.toml': text })
    const error: unknown = await directory.load().catch((reason: unknown) => reason)
    expect(error).toMatchObject({
      problems: [
        {
          file: join(directory.path, 'credentials.toml'),
          path: 'client',
          message: expect.stringMatching(/no \[\[client\]\] .*At least one is needed/),
        },
      ],
    })
  })

  it('credentials.toml must be there behind a balancer, whose loopback is public', async () => {
    using directory = new ConfigDirectory({ 'vpn.toml': NO_USERS + BALANCER })
    expect(await directory.problems()).toEqual([
      expect.stringMatching(/^credentials_file: .*proxy_protocol_from/),
    ])
  })
})

const withRules = (rules: string, more = '') => ({
  ...vpn('rules_file = "rules.toml"', more),
  'rules.toml': rules,
})

describe('rules.toml', () => {
  it('rules.toml with a wrong range does not make its rule one for everybody', async () => {
    const wrong = '[[rule]]\ncidr = "300.0.0.0/8"\naction = "allow"\n'
    const sound = '[[rule]]\ncidr = "10.0.0.0/8"\naction = "deny"\n'
    using directory = new ConfigDirectory(withRules(wrong + sound))
    const error: unknown = await directory.load().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ problems: [{ path: 'rule[0].cidr' }], warnings: [] })
  })

  it('rules.toml takes the legacy list as inbound rules', async () => {
    using directory = new ConfigDirectory(
      withRules('[[rule]]\ncidr = "192.0.2.0/24"\nclient_random_prefix = "aa/f0"\naction = "deny"'),
    )
    expect((await directory.load()).rules).toEqual({
      inbound: {
        default_action: 'allow',
        rules: [
          {
            cidr: ipPrefix('192.0.2.0/24'),
            client_random_prefix: { bytes: Uint8Array.of(0xaa), mask: Uint8Array.of(0xf0) },
            client_random_psk_key: null,
            action: 'deny',
          },
        ],
      },
      outbound: { default_action: 'allow', rules: [] },
    })
  })

  it('rules.toml takes the tables', async () => {
    using directory = new ConfigDirectory(
      withRules(
        '[inbound]\ndefault_action = "deny"\n[[inbound.rule]]\ncidr = "::/0"\naction = "allow"\n[outbound]\n[[outbound.rule]]\ndestination_port = "25"\naction = "deny"\n[[outbound.rule]]\ndestination_port = "1-9"\ndestination_cidr = "::1"\naction = "allow"',
      ),
    )
    expect((await directory.load()).rules).toMatchObject({
      inbound: { default_action: 'deny', rules: [{ cidr: ipPrefix('::/0'), action: 'allow' }] },
      outbound: {
        default_action: 'allow',
        rules: [
          { destination_port: { from: 25, to: 25 }, destination_cidr: null, action: 'deny' },
          { destination_port: { from: 1, to: 9 }, destination_cidr: ipPrefix('::1'), action: 'allow' },
        ],
      },
    })
  })

  it('rules.toml warns of rules that an earlier one takes everything from', async () => {
    const rule = (action: string, ...conditions: string[]) =>
      ['[[inbound.rule]]', `action = "${action}"`, ...conditions].join('\n')
    const target = (...conditions: string[]) =>
      ['[[outbound.rule]]', 'action = "deny"', ...conditions].join('\n')
    using directory = new ConfigDirectory(
      withRules(
        [
          '[inbound]',
          rule('allow', 'cidr = "10.0.0.0/8"'),
          rule('deny', 'cidr = "10.1.0.0/16"'),
          rule('deny', 'cidr = "::ffff:10.2.0.0/112"', 'client_random_prefix = "aa"'),
          rule('allow', 'cidr = "::/0"', 'client_random_prefix = "aa"'),
          rule('deny', 'cidr = "2001:db8::/32"', 'client_random_prefix = "AA/ff"'),
          rule('deny', 'cidr = "2001:db8::/32"', 'client_random_prefix = "bb"'),
          rule('deny', 'cidr = "0.0.0.0/0"'),
          rule('deny'),
          '[outbound]',
          target('destination_port = "1000-2000"'),
          target('destination_port = "1500"', 'destination_cidr = "192.0.2.0/24"'),
          target('destination_port = "1500-2001"'),
        ].join('\n'),
      ),
    )
    const { warnings } = await directory.load()
    expect(warnings.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'inbound.rule[1]: never decides: inbound.rule[0] takes all that it would',
      'inbound.rule[2]: never decides: inbound.rule[0] takes all that it would',
      'inbound.rule[4]: never decides: inbound.rule[3] takes all that it would',
      'outbound.rule[1]: never decides: outbound.rule[0] takes all that it would',
    ])
  })

  it('rules.toml lets a rule with an unknown key match everything, with warnings', async () => {
    using directory = new ConfigDirectory(
      withRules('[[rule]]\ntls_client_random = "aabb"\naction = "allow"\n[[rule]]\naction = "deny"'),
    )
    const { rules, warnings } = await directory.load()
    const all = { cidr: null, client_random_prefix: null, client_random_psk_key: null }
    expect(rules?.inbound.rules).toEqual([
      { ...all, action: 'allow' },
      { ...all, action: 'deny' },
    ])
    expect(warnings.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'rule[0].tls_client_random: unknown key, ignored; the nearest known key is client_random_prefix',
      'rule[0]: without the unknown key this rule has no condition: allow for all',
      'rule[1]: never decides: rule[0] takes all that it would',
    ])
  })

  it.each([
    [
      'a PSK key that cannot be read, without repeating it',
      '[[rule]]\nclient_random_psk_key = "zz"\naction = "deny"',
      'rule[0].client_random_psk_key: the value is not allowed; allowed is whole bytes in hexadecimal',
    ],
    ['no action', '[[rule]]\ncidr = "::1"', 'rule[0].action: is required: "allow", "deny"'],
    [
      'an action in capitals',
      '[[rule]]\naction = "Deny"',
      'rule[0].action: "Deny" is not allowed; allowed is "allow", "deny"',
    ],
    [
      'a prefix that is not hexadecimal',
      '[[rule]]\nclient_random_prefix = "xyz"\naction = "deny"',
      'rule[0].client_random_prefix: "xyz" is not allowed; allowed is hexadecimal "aabb" or with a mask "aabb/ff0f"',
    ],
    [
      'a range that runs backwards',
      '[[outbound.rule]]\ndestination_port = "9-1"\naction = "deny"',
      'outbound.rule[0].destination_port: "9-1" is not allowed; allowed is "443" or "6881-6889"',
    ],
    [
      'both forms',
      '[[rule]]\naction = "deny"\n[inbound]',
      'rule: Invalid rules file: [[rule]] and [inbound] are two forms of the same: use one',
    ],
    ['no TOML', '[[rule', expect.stringMatching(/^Invalid rules file: line 1/)],
  ])('rules.toml refuses %s', async (_, rules, problem) => {
    using directory = new ConfigDirectory(withRules(rules))
    expect(await directory.problems()).toEqual([problem])
  })

  it('rules.toml refuses a file that is not there', async () => {
    using directory = new ConfigDirectory(vpn('rules_file = "rules.toml"'))
    expect(await directory.problems()).toEqual(['Invalid rules file: no such file'])
  })

  it('rules.toml says that QUIC hides the random', async () => {
    using directory = new ConfigDirectory(
      withRules('[[rule]]\nclient_random_prefix = "aa"\naction = "deny"', '[listen_protocols.quic]'),
    )
    expect((await directory.warnings())[0]).toContain('every QUIC connection is denied')
  })
})

describe('relative paths', () => {
  it('relative paths lead from the working directory before they lead from the file', async () => {
    using elsewhere = new ConfigDirectory({ 'here.toml': CREDENTIALS.replace('alice', 'bob') })
    using directory = new ConfigDirectory({ 'vpn.toml': VPN.replace('credentials.toml', 'here.toml') })
    const before = process.cwd()
    try {
      process.chdir(elsewhere.path)
      expect((await directory.load()).clients[0]?.username).toBe('bob')
      process.chdir(before)
      expect(await directory.problems()).toEqual(['Invalid credentials file: no such file'])
    } finally {
      process.chdir(before)
    }
  })

  it('relative paths are not replaced when something else is there', async () => {
    using elsewhere = new ConfigDirectory()
    using directory = new ConfigDirectory()
    rmSync(join(elsewhere.path, 'credentials.toml'))
    mkdirSync(join(elsewhere.path, 'credentials.toml'))
    const before = process.cwd()
    try {
      process.chdir(elsewhere.path)
      expect(await directory.problems()).toEqual(['Invalid credentials file: it is a directory'])
    } finally {
      process.chdir(before)
    }
  })
})
