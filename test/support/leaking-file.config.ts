/** For the test of the leak check: runs the file that leaks. */
import { defineConfig } from 'vitest/config'

export default defineConfig({ test: { include: ['test/support/leaking-file.ts'], pool: 'forks' } })
