/** nghttp2's own programs, as visitors of the decoy site over HTTP/2. */
import { describe, expect, it } from 'vitest'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'

const absent = missing('nghttp', 'h2load')
const REQUESTS = 500

describe.skipIf(absent.any)(`nghttp2's programs${absent.note}`, () => {
  it("nghttp2's client gets the decoy page", async () => {
    await using endpoint = await startBrowsableEndpoint()
    const { code, stdout } = await run('nghttp', ['-v', `https://localhost:${endpoint.port}/`])
    const text = stdout.toString()
    expect(code).toBe(0)
    expect(text).toContain('The negotiated protocol: h2')
    expect(text).toContain(':status: 200')
    expect(text).toContain('content-type: text/html')
    expect(text).toContain('</html>')
    // Both sides end without a complaint.
    expect(text).not.toMatch(/RST_STREAM|error_code=(?!NO_ERROR)/)
  })

  it("nghttp2's load generator gets the decoy page many times on many streams", async () => {
    await using endpoint = await startBrowsableEndpoint()
    const url = `https://localhost:${endpoint.port}/`
    const { code, stdout } = await run('h2load', ['-n', `${REQUESTS}`, '-c', '3', '-m', '50', url])
    expect(code).toBe(0)
    const counts = `${REQUESTS} total, ${REQUESTS} started, ${REQUESTS} done, ${REQUESTS} succeeded, 0 failed`
    expect(stdout.toString()).toContain(`requests: ${counts}`)
    expect(stdout.toString()).toContain(`status codes: ${REQUESTS} 2xx`)
    await endpoint.waitForStats((now) => now['client_sessions{HTTP2}'] === 0)
  })
})

expectNothingLeftOpen()
