import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/{unit,contract,integration,interop,fuzz}/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A busy machine is no failure.
    expect: { poll: { timeout: 10_000 } },
    reporters: ['default'],
  },
})
