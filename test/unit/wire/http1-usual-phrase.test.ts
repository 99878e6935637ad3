/** Reason phrases are a table of our own, because loading Node's `http` for its table takes 4 MiB in each lane. */
import { STATUS_CODES } from 'node:http'
import { expect, it } from 'vitest'
import { usualPhrase } from '../../../src/wire/http1/usual-phrase.ts'

it('the usual reason phrases are those of Node', () => {
  const all = Array.from({ length: 1000 }, (_, status) => usualPhrase(status))
  expect(all).toEqual(Array.from({ length: 1000 }, (_, status) => STATUS_CODES[status] ?? ''))
})
