/**
 * Loaded into an endpoint by `node --import`, on every thread: appends `THREAD MS BYTES` to a file ten times a second,
 * the milliseconds since 1970 and what the thread has allocated on V8's heap since its start. Not TypeScript: what strips
 * types would stay in the endpoint's memory.
 */
import { appendFileSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'
import { threadId } from 'node:worker_threads'

const INTERVAL_MS = 100
const file = process.env['CULVERT_BENCH_HEAP_FILE']

if (file !== undefined) {
  const report = () => {
    const { total_allocated_bytes: bytes } = getHeapStatistics()
    appendFileSync(file, `${threadId} ${Date.now()} ${bytes}\n`)
  }
  setInterval(report, INTERVAL_MS).unref()
}
