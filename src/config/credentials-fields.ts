/** `credentials.toml`: the users. */
import { int, tables, text } from './schema.ts'

export const credentialsFields = {
  client: tables(
    {
      username: text({ example: 'premium', doc: 'The name; without a colon.' }),
      password: text({ example: 'change me', secret: true, doc: 'The password.' }),
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
    { doc: 'A user. May be repeated.' },
  ),
} as const
