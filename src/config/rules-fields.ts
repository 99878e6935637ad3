/**
 * `rules.toml`: who may connect, and where to. Describes both the legacy list `[[rule]]` and the tables `[inbound]` and
 * `[outbound]`; `load-rules.ts` turns them into one form.
 */
import { cidr, hex, parsed, parsePortRange, randomPrefix } from './values.ts'
import { choice, optionalTable, tables } from './schema.ts'

const action = choice(['allow', 'deny'], { example: 'allow', doc: 'What becomes of it.' })
const defaultAction = choice(['allow', 'deny'], { default: 'allow', doc: 'When no rule matches.' })

const inboundRule = {
  cidr: cidr({ default: null, example: '192.0.2.0/24', doc: 'Where the client connects from.' }),
  client_random_prefix: randomPrefix({
    default: null,
    example: 'aabb/ff0f',
    doc: 'How the random of its TLS ClientHello starts. It cannot be seen over QUIC, so there such a rule denies everybody.',
  }),
  client_random_psk_key: hex({
    default: null,
    example: '00112233445566778899aabbccddeeff',
    secret: true,
    doc: 'The key its random was made with; used instead of `client_random_prefix`.',
  }),
  action,
} as const

const outboundRule = {
  destination_cidr: cidr({
    default: null,
    example: '198.51.100.0/24',
    doc: 'The address of the target; names match by port only.',
  }),
  destination_port: parsed('port or range', '"443" or "6881-6889"', parsePortRange, {
    default: null,
    example: '6881-6889',
    doc: 'The port of the target.',
  }),
  action,
} as const

export const rulesFields = {
  rule: tables(inboundRule, {
    doc: 'A rule for connections of clients, in the older form. The first match decides; both conditions must hold.',
    reloadable: true,
  }),
  inbound: optionalTable(
    {
      default_action: defaultAction,
      rule: tables(inboundRule, { doc: 'A rule, like `[[rule]]`.' }),
    },
    { doc: 'Rules for connections of clients.', reloadable: true },
  ),
  outbound: optionalTable(
    {
      default_action: defaultAction,
      rule: tables(outboundRule, {
        doc: 'A rule. The first match decides; both conditions must hold.',
      }),
    },
    { doc: 'Rules for the targets of clients.', reloadable: true },
  ),
} as const
