/** `credentials.toml`: the users. */
import { int, tables, text } from './schema.ts'
import { dateTime } from './values.ts'

export const credentialsFields = {
  client: tables(
    {
      username: text({ example: 'premium', doc: 'The name; without a colon.' }),
      password: text({ example: 'change me', secret: true, doc: 'The password.' }),
      password_previous: text({
        default: null,
        example: 'the old one',
        secret: true,
        doc: 'The previous password: it also works until `previous_until`, so that changing it cuts nobody off.',
      }),
      previous_until: dateTime({
        default: null,
        example: '2027-01-31T12:00:00Z',
        doc: 'When `password_previous` expires. What is open by then continues while both keys stand here; new requests with it are refused.',
      }),
      max_http2_conns: int({
        default: null,
        example: 32,
        min: 1,
        doc: 'Sessions over HTTP/1.1 and HTTP/2 of this user.',
      }),
      max_http3_conns: int({
        default: null,
        example: 16,
        min: 1,
        doc: 'Sessions over HTTP/3 of this user.',
      }),
    },
    { doc: 'A user. May be repeated.', reloadable: true },
  ),
} as const
