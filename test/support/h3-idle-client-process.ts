/**
 * Opens streams to `source` on one connection and reports it; then its parent stops it with a signal. Arguments: port,
 * number of streams.
 */
import { once } from 'node:events'
import { H3Client } from './h3-client.ts'

const [port = 0, streams = 1] = process.argv.slice(2).map(Number)
const client = await H3Client.open(port)
const answers = Array.from({ length: streams }, async () => {
  const stream = client.connect('source')
  stream.resume()
  await once(stream, 'response')
})
await Promise.all(answers)
process.send?.('open')
