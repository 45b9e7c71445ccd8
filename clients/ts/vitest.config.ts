import {defineConfig} from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.{ts,tsx}'],
    // Nodes and browsers share two processors: files run one after the other.
    fileParallelism: false,
    globalSetup: 'tests/support/build.ts',
    // More than two waits of their support: it is that which says what has not come.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
