/** Used by the test of the leak check to run the file that leaks. */
import { defineConfig } from 'vitest/config'

export default defineConfig({ test: { include: ['test/support/leaking-file.ts'], pool: 'forks' } })
