import {defineConfig} from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.{ts,tsx}'],
    // Nodes and browsers share two processors: files run one after the other.
    fileParallelism: false,
    globalSetup: 'tests/support/build.ts',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
